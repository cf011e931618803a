"""The register's changes where they were measured: what its entries say of rungs, put to a rule."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.judging.compare.causes import findings_of
from harness.judging.compare.register import Change, read_register
from harness.records.record import RUNGS
from suites.moved import read_moved
from suites.trial.record import BEFORE, REGISTER, Tried

# By where its reference says that the change stands, the rung that executes that place first. The
# register was written from what was measured, and this rule with that in sight: no blind trial.
PLACES = (
    (
        r"Trainer\.__init__|training_args|modeling_auto|integrations/|conversion_mapping",
        "interface",
    ),
    (r"idefics3/processing_idefics3\.py$|trainer/sft_trainer\.py", "interface"),
    (
        r"trainer\.py|accepts_loss_kwargs|loss_function|\*\*kwargs|loss_type",
        "update",
    ),
    (r"tokenization", "ids"),
    (r"apply_chat_template", "text"),
    (r"image_processing|processing_|image_utils", "images"),
    (r"prepare_inputs_for_generation|generation/", "forward"),
    (
        r"rope_index|masking_utils|_attn_implementation|pixel_values|PatchEmbedder\.forward",
        "inputs",
    ),
    (r"modeling_qwen2_vl\.py, Qwen2VLForConditionalGeneration", "inputs"),
    (r"Embeddings\.forward|ConditionalGeneration\.forward|create_masks", "forward"),
    (
        r"enable_input_require_grads|TextModel\.forward|VisionAttention|delta_rule|Embedder",
        "backward",
    ),
)


def expected(change: Change) -> str:
    """The rung of the place in the source that an entry names."""
    return next((rung for place, rung in PLACES if re.search(place, change.reference)), "")


def known() -> Iterator[Tried]:
    """Every entry that is not cosmetic and whose place the rule knows, at the first committed step
    where it explains something."""
    register = read_register()
    seen = set()
    for step in read_moved():
        pairs = [moved.pair for moved in step.pairs]
        findings = findings_of(pairs, (), register, (step.old, step.new), family=step.family)
        at_work = {c.name: c for f in findings for c in f.known if c.severity != "cosmetic"}
        for name, change in at_work.items():
            if name in seen or not expected(change):
                continue
            seen.add(name)
            own = [f for f in findings if change in f.known]
            rungs = {f.pair.rung for f in own}
            first = next(rung for rung in RUNGS if rung in rungs)
            headings = len({tuple(c.name for c in f.known) for f in own})
            yield Tried(
                kind=REGISTER,
                half=BEFORE,
                name=change.title,
                library=f"{change.library} {change.before} → {change.first}",
                stack=step.title,
                says=change.reference,
                source=f"known_changes/{name}.toml",
                expected=expected(change),
                found=first,
                moved=first,
                metrics=tuple(f.pair.finding for f in own if f.pair.rung == first)[:3],
                headings=headings,
                headings_frozen=headings,
                rungs=tuple(rung for rung in RUNGS if rung in rungs),
            )
