"""Where the recipe's sources contradict themselves or each other: shown, never copied silently.

Each has what two places say, the metric that measures its effect (where one can), and the switch
of `recipe.Repairs` that mends it (off by default; None where the harness leaves nothing to mend).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contradiction:
    """effects: metric ids of the records, cases included by prefix. repair: a recipe variant."""

    name: str
    says: str
    but: str
    effects: tuple[str, ...]
    repair: str | None


CONTRADICTIONS = (
    Contradiction(
        "image_order",
        "training puts the text before the image",
        "generation puts the image before the text",
        ("forward.order_effect", "generation.order_effect"),
        "same-order",
    ),
    Contradiction(
        "warmup_without_effect",
        "warmup_ratio=0.03",
        "the scheduler `constant` never warms up",
        ("update.learning_rate", "trajectory.learning_rate_gap"),
        "warmup",
    ),
    Contradiction(
        "logging_comment",
        "logging_steps=5",
        "the comment beside it says every 10 steps",
        (),
        None,
    ),
    Contradiction(
        "printed_rendering",
        "the post prints a rendered sample without trailing spaces and one `<`",
        "the template keeps every space and writes `<|im_start|>assistant`",
        ("text.printed_sample_differences",),
        None,
    ),
    Contradiction(
        "catergory_key",
        "the sample of the generation step has the key `catergory`",
        "the dataset and the prompt call it Category; as written the lookup is a KeyError",
        ("text.misspelt_key_raises",),
        None,
    ),
    Contradiction(
        "prompt_is_trained",
        "the task is to write the description",
        "system and user text are targets too",
        ("labels.prompt_share", "forward.loss_share"),
        "mask-prompt",
    ),
    Contradiction(
        "rich_undeclared",
        "the published pins",
        "trl 0.11.1 imports rich, which nothing in them declares",
        ("environment.bare_pins_import",),
        None,
    ),
    Contradiction(
        "one_space",
        "the post's prompt has a line with one space",
        "the tutorial's has an empty line there",
        ("forward.space_effect",),
        "tutorial-prompt",
    ),
)
