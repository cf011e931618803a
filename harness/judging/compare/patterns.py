"""Differences that nobody knows, by what moves together: one cause moves much.

Pure. Where no experiment shows what a difference follows from, the ladder still says where it
begins, and what stayed the same says whose arithmetic it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.judging.compare.comparison import Finding
from harness.judging.compare.pairs import Pair
from harness.records.record import Verdict

# From where pictures, positions and adapters meet, every value depends on every earlier one.
COMPUTED = ("inputs", "forward", "backward", "update", "trajectory", "generation")
# Of the model alone, and of the model with adapters.
PLAIN, ADAPTED = "forward.plain_loss", "forward.loss"


def bucket(finding: Finding) -> tuple[str, ...]:
    """What an unknown difference is told together with: all of what is computed from the batch
    on; before that, its own metric. An error stands by its own metric too."""
    pair = finding.pair
    if pair.rung in COMPUTED and not pair.broken:
        return ("unknown", "computed")
    return ("unknown", pair.metric_id)


def pattern(findings: Sequence[Finding], pairs: Sequence[Pair]) -> str:
    """What moved and what did not, as a sentence that says where to look; '' where that says
    nothing. findings: one bucket's."""
    moved = {finding.pair.metric_id for finding in findings}
    rungs = {finding.pair.rung for finding in findings}
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
    if rungs <= {"update", "trajectory", "generation"} and ADAPTED in still:
        return (
            "The same loss leads to other updates: look at trl, transformers' Trainer, accelerate."
        )
    return ""
