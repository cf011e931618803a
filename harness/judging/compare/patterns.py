"""Differences that nobody knows, by what moves together: one cause moves much.

Pure. Where no experiment shows what a difference follows from, the ladder still says where it
begins, and what stayed the same says whose arithmetic it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.judging.compare.comparison import Finding
from harness.judging.compare.pairs import Pair
from harness.records.record import PROBE, Verdict

# From where pictures, positions and adapters meet, every value depends on every earlier one.
COMPUTED = ("inputs", "forward", "backward", "update", "trajectory", "generation")
# What a batch and a model cost follows from both.
COST = "cost"
# Each of these rungs hands its values to later ones, and looks at them in several ways.
HANDED = ("text", "ids", "images", "labels", "model", COST)
# Each of the first three is made of the one before.
CONVERSATION = ("text", "ids", "labels")
# Of the model alone, and of the model with adapters.
PLAIN, ADAPTED = "forward.plain_loss", "forward.loss"


def bucket(finding: Finding, *, established: bool) -> tuple[str, ...]:
    """What an unknown difference is told together with: all of what is computed from the batch
    on; before that, all of its rung. An error stands by its own metric.

    established: whether experiments have folded what follows under its cause. Where not, as between
    two folders of records, conversations are one story from their text to their labels, and what a
    step costs is one with what it computes. There the rungs that end in an error on a side are told
    together, and the values that do: one cause has three headings at most.
    """
    pair = finding.pair
    if pair.broken and not established:
        return ("unknown", f"broken on {pair.broken}", PROBE if pair.metric == PROBE else "")
    if pair.broken:
        return ("unknown", pair.metric_id)
    if pair.rung in COMPUTED or (pair.rung == COST and not established):
        return ("unknown", "computed")
    if pair.rung in CONVERSATION and not established:
        return ("unknown", "conversation")
    return ("unknown", pair.rung if pair.rung in HANDED else pair.metric_id)


def pattern(findings: Sequence[Finding], pairs: Sequence[Pair]) -> str:
    """What moved and what did not, as a sentence that says where to look; '' where that says
    nothing. findings: one bucket's."""
    moved = {finding.pair.metric_id for finding in findings}
    rungs = {finding.pair.rung for finding in findings} - {COST}
    still = {pair.metric_id for pair in pairs if pair.verdict is Verdict.SAME} - moved
    if PLAIN in moved:
        cases = {f.pair.case for f in findings if f.pair.metric_id == PLAIN}
        if not any(case.endswith("none") for case in cases):
            return (
                "Only rows with pictures moved: look at what leads from pixels to the decoder, in "
                "transformers."
            )
        return "The model gives other values without adapters too: look at transformers or torch."
    if ADAPTED in moved and PLAIN in still:
        return (
            "Only what adapters take part in moved, the model alone gives the same: look at peft."
        )
    if rungs == {"backward"}:
        return "The same forward pass has other gradients: look at torch or peft."
    if rungs and rungs <= {"update", "trajectory", "generation"} and ADAPTED in still:
        return (
            "The same loss leads to other updates: look at trl, transformers' Trainer, accelerate."
        )
    return ""
