"""Named diffs of the recipe's step, each meant to keep the loss and save time or memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from harness.errors import BadInput

Head = Literal["library", "selected", "liger"]
Mode = Literal["recipe", "no_grad", "cached", "by_picture"]


@dataclass(frozen=True)
class Variant:
    """One way to execute the recipe's step.

    checkpointing: share of decoder layers recomputed in the backward pass (1 is the recipe's).
    unpacked: NF4 weights unpacked to bfloat16 once, not in every product; `alike` gives back its
    input's dtype as bitsandbytes does, `plain` stays bfloat16, a rounding more. head: where logits
    are made: at every position by the library; only where a label counts, in one product or by
    liger-kernel's fused one. upcast: what peft's k-bit preparation does to everything that is not
    quantised: `recipe` (float32, kept), `narrow` (but not embeddings and head; what the embedding
    gives is widened again), `published` (float32, then embeddings and head back to bfloat16 and
    left there, as TRL 0.11.1 executes it), `none`. input_grads: transformers' hook that makes the
    embedding's output, and on transformers 5 the tower's input, require a gradient; the published
    4-bit path never sets it. tower: `recipe`; `no_grad`: no backward work in the frozen tower;
    `cached`: its output is computed once per picture; `by_picture`: pictures go through it one at a
    time. compiled: torch.compile of each decoder layer; compiled_tower: of each tower block.
    positions: what a forward pass would ask the device for (rotary position ids, how many labels
    there are, how long each picture is) is asked there, or found beside the collation.
    unmasked: the collator leaves out a mask that only hides padding behind a row's tokens, which
    causal attention never looks at.
    liger: liger-kernel's norms and gated activation.
    rows: samples that go through the model at a time, each part's loss weighted by its labels; 0
    is the whole micro-batch, more than it has joins several, every label weighing what it did
    (only where the head takes labels' weights, `selected`). grouped: a step's samples are sorted
    by length before they are dealt into micro-batches, measured on pictures of mixed sizes; other
    samples share a batch, so the mean of the micro-batches' means is another number.
    """

    name: str
    what: str
    checkpointing: float = 1.0
    unpacked: Literal["no", "alike", "plain"] = "no"
    head: Head = "library"
    upcast: Literal["recipe", "narrow", "published", "none"] = "recipe"
    input_grads: bool = True
    tower: Mode = "recipe"
    compiled: bool = False
    compiled_tower: bool = False
    positions: Literal["model", "collator"] = "model"
    unmasked: bool = False
    liger: bool = False
    rows: int = 0
    grouped: bool = False

    @property
    def is_the_models(self) -> bool:
        """Whether nothing of it is the collator's (unmasked) or the trainer's (rows, grouped)."""
        return not (self.unmasked or self.rows or self.grouped)


# The lane's first denominator, kept for its records' sake: nobody executes it. The reference
# libraries cast embeddings and head back and never send a gradient into the tower.
RECIPE = Variant("recipe", "embeddings and head kept in float32, a gradient through the tower")
# The step that the recipe's pinned libraries execute on a 4-bit model; suites/test_contest.py
# holds it against their own calls:
# trl 0.11.1 SFTTrainer.__init__ hands `gradient_checkpointing` to peft and takes it from its own
# arguments (sft_trainer.py:236-246), then calls peft_module_casting_to_bf16 (:269-275;
# utils.py:858-865: norms to float32, embeddings and head back to bfloat16);
# peft 0.13.0 prepare_model_for_kbit_training casts to float32 (other.py:126-132) and, with
# `use_reentrant` given as False, does not call enable_input_require_grads (:137-147).
PUBLISHED = Variant(
    "published",
    "the step that the reference libraries execute",
    upcast="published",
    input_grads=False,
)
# Ways of the same arithmetic as `published`, for the frontier of speed and memory.
_LEAN = replace(
    PUBLISHED,
    head="selected",
    tower="no_grad",
    compiled=True,
    compiled_tower=True,
    positions="collator",
)
_KEPT = replace(_LEAN, checkpointing=0)
_UNPACKED = replace(_KEPT, unpacked="alike")


def _frontier() -> Iterator[Variant]:
    for start, what, kind in (
        ("packed_checkpointed", "4-bit weights, layers recomputed", _LEAN),
        ("packed_kept", "4-bit weights, nothing recomputed", _KEPT),
        (
            "unpacked_checkpointed",
            "bfloat16 weights, layers recomputed",
            replace(_UNPACKED, checkpointing=1.0),
        ),
        ("unpacked_kept", "bfloat16 weights, nothing recomputed", _UNPACKED),
    ):
        for rows, words in ((0, "the whole micro-batch"), (2, "two samples"), (1, "one sample")):
            end = f"_by_{rows}" if rows else ""
            about = f"{what}, {words} at a time, compiled"
            yield replace(kind, name=start + end, what=about, rows=rows)
            yield replace(
                kind,
                name=f"{start}_cached{end}",
                what=f"{about}, the tower's output kept",
                rows=rows,
                tower="cached",
            )
    unmasked = replace(
        _UNPACKED,
        name="unpacked_unmasked",
        what="unpacked_kept, attention without a mask where padding stands behind the tokens",
        unmasked=True,
    )
    for rows in (0, 8, 16, 32):
        end = f"_by_{rows}" if rows else ""
        about = unmasked.what + (f", {rows} samples at a time" if rows else "")
        yield replace(unmasked, name=unmasked.name + end, what=about, rows=rows)
        yield replace(
            unmasked,
            name=f"{unmasked.name}_cached{end}",
            what=f"{about}, the tower's output kept",
            rows=rows,
            tower="cached",
        )


VARIANTS = {
    v.name: v
    for v in (
        RECIPE,
        PUBLISHED,
        replace(PUBLISHED, name="published_again", what="the same again: what noise alone does"),
        replace(
            PUBLISHED,
            name="published_by_2",
            what="the same sums two samples at a time, nothing recomputed: another rounding order",
            rows=2,
            checkpointing=0,
            tower="no_grad",
        ),
        replace(
            PUBLISHED,
            name="published_compiled",
            what="the published step, each decoder layer compiled",
            compiled=True,
        ),
        *_frontier(),
        Variant("recipe_again", "the recipe against itself: what noise alone does"),
        Variant("no_checkpointing", "activations kept, nothing recomputed", checkpointing=0),
        Variant("half_checkpointing", "every other layer recomputed", checkpointing=0.5),
        Variant("dequantised", "weights unpacked to bfloat16 once", unpacked="alike"),
        Variant("selected_logits", "logits only where a label counts", head="selected"),
        Variant("liger_loss", "head and loss fused, in chunks, where a label counts", head="liger"),
        Variant("no_upcast", "embeddings, head and norms stay bfloat16", upcast="none"),
        Variant("frozen_tower", "no backward work in the frozen vision tower", tower="no_grad"),
        Variant("cached_vision", "vision embeddings computed once per picture", tower="cached"),
        Variant(
            "per_image_attention",
            "each picture through the vision tower alone",
            tower="by_picture",
        ),
        Variant(
            "length_grouping",
            "samples of a step sorted by length; changes the batches; both sides padded right",
            grouped=True,
        ),
        Variant("compiled", "torch.compile of each decoder layer", compiled=True),
        Variant("liger_kernels", "liger-kernel's norms and activation", liger=True),
        Variant(
            "fastest",
            "no checkpointing, unpacked once, vision cached, logits where needed",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
        ),
        Variant(
            "fastest_first_epoch",
            "the same, the vision tower run forward in every step",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="no_grad",
        ),
        Variant(
            "fastest_liger",
            "fastest, with liger-kernel's kernels",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            liger=True,
            upcast="narrow",
        ),
        Variant(
            "fastest_compiled",
            "fastest, with compiled decoder layers",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            compiled=True,
            upcast="narrow",
        ),
        Variant(
            "fastest_compiled_liger",
            "fastest, with compiled layers and liger-kernel's kernels",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            compiled=True,
            liger=True,
            upcast="narrow",
        ),
        Variant(
            "dequantised_plain", "weights unpacked once, results stay bfloat16", unpacked="plain"
        ),
        Variant("narrow_upcast", "embeddings and head stay bfloat16", upcast="narrow"),
        Variant(
            "leanest",
            "narrow upcast, fused head and loss, no backward in the tower",
            head="liger",
            upcast="narrow",
            tower="no_grad",
        ),
        Variant(
            "leanest_plain",
            "the same with logits where needed, in one product",
            head="selected",
            upcast="narrow",
            tower="no_grad",
        ),
        Variant(
            "leanest_by_row",
            "leanest_plain, one sample at a time, weighted by its labels",
            head="selected",
            upcast="narrow",
            tower="no_grad",
            rows=1,
        ),
        Variant(
            "leaner",
            "leanest without any upcast",
            head="liger",
            upcast="none",
            tower="no_grad",
        ),
    )
}


def variant(name: str) -> Variant:
    """By name. Raises BadInput listing the names."""
    if name not in VARIANTS:
        raise BadInput(f"There is no variant {name!r}; choose from {', '.join(VARIANTS)}.")
    return VARIANTS[name]
