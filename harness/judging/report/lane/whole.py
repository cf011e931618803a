"""A whole training from a cold start, ours and SFTTrainer's, added up from measured parts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging.report.lane.alone import gigabytes

Records = Mapping[str, Mapping[str, Any]]
CASE, TRAINER = "whole", "trainer"
# Of SFTTrainer's time over the fastest way's, both from a cold start.
WANTED = 3.5


@dataclass(frozen=True)
class Total:
    """Seconds of all epochs. measured: of them, seen. low, high: every step that was not seen
    taken as the fastest and as the slowest that was."""

    seconds: float
    low: float
    high: float
    measured: float


def _epoch_steps(raw: Mapping[str, Any]) -> int:
    """Optimizer steps of an epoch; the last takes what is left."""
    return math.ceil(raw["rows"] / max(step["rows"] for step in raw["steps"]))


def total(raw: Mapping[str, Any]) -> Total:
    """Of one record. What was not measured takes the median of the steps after the first of its
    kind: of the second epoch for a way, of the first for the trainer, which compiles nothing."""
    ended = dict(raw["phases"])
    steps, epochs = _epoch_steps(raw), raw["epochs"]
    if raw["way"] == TRAINER:
        seen = [step["seconds"] for step in raw["steps"]]
        saving = ended["adapter saved"] - ended["steps ended"]
        measured = ended["trainer built"] + sum(seen) + saving
        fixed = measured + (epochs - 1) * saving
        left, pace = steps * epochs - len(seen), seen[1:]
    else:
        later = [step for step in raw["steps"] if step["epoch"] == 1]
        saving = ended["adapter saved"] - ended["epoch 1 ended"]
        measured = ended["adapter saved"]
        # Each epoch's collators begin anew.
        fixed = measured + (epochs - 1) * (saving + later[0]["waited"])
        left, pace = steps * (epochs - 1), [step["seconds"] for step in later[1:]]
    middle, low, high = (f(pace) for f in (statistics.median, min, max))
    return Total(fixed + left * middle, fixed + left * low, fixed + left * high, measured)


def phases(raw: Mapping[str, Any]) -> str:
    """Where a way's first epoch went, and a step of the second."""
    ended = dict(raw["phases"])
    # The last one has the rows left over, which are not its equal.
    first = [step for step in raw["steps"] if step["epoch"] == 0]
    later = [step["seconds"] for step in raw["steps"] if step["epoch"] == 1][1:]
    middle = statistics.median(step["seconds"] for step in first[1:-1])
    compiled = first[0]["seconds"] - middle
    done = raw.get("compilation")
    cached = f" ({done['graphs']} graphs, {done['from_cache']} of them cached)" if done else ""
    # One row takes less than a whole step, unless it is compiled for.
    anew = ", compiled anew" if first[-1]["seconds"] > 2 * middle else ""
    return (
        f"libraries {ended['libraries imported']:.0f} s, load "
        f"{ended['model loaded'] - ended['collators started']:.0f} s, first step's compilation "
        f"{compiled:.0f} s{cached}, {len(first) - 2} steps of {middle:.2f} s with the tower run, "
        f"the last step (rows left over: {first[-1]['rows']}) {first[-1]['seconds']:.1f} s{anew}, "
        f"{sum(step['waited'] for step in first):.1f} s of waiting for collated batches, adapter "
        f"saved in {ended['adapter saved'] - ended['epoch 1 ended']:.2f} s; second epoch "
        f"{statistics.median(later):.2f} s a step"
    )


def headline(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Ratio and parts of two records of the same rows, an item each."""
    mine, other = total(ours), total(theirs)
    ratio, low, high = (
        other.seconds / mine.seconds,
        other.low / mine.high,
        other.high / mine.low,
    )
    met = "reached" if ratio >= WANTED else "**not reached**"
    return [
        f"- `{ours['way']}` {mine.seconds:.0f} s against SFTTrainer as installed "
        f"{other.seconds:.0f} s: {ratio:.2f}× ({low:.2f}–{high:.2f}; wanted {WANTED}×: {met}). "
        f"Measured: {mine.measured:.0f} s of ours (one whole epoch), {other.measured:.0f} s of "
        f"the trainer's ({len(theirs['steps'])} steps); the rest is predicted from the median "
        f"of the steps seen, the interval from their fastest and slowest.",
        f"- Ours: {phases(ours)}; peak {gigabytes(ours['peak'])} GB with every picture's "
        f"embedding kept, {ours['asked']['processes']} processes collate. SFTTrainer: "
        f"{gigabytes(theirs['peak'])} GB, it collates in its own process, as in the recipe.",
    ]


def section(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """A way's training beside the trainer's."""
    return "\n".join(
        [
            f"### A whole training: {ours['rows']:,} rows, {ours['epochs']} epochs, "
            f"{ours['tokens']} tokens, from a cold start",
            "",
            *headline(ours, theirs),
            "- Both pad on the right: on the left, as the recipe pads, some lengths have no finite "
            "gradient on Hopper (trajectory.padded_gradient_is_finite). Rows are made before the "
            "clock starts; dropout is off.",
            *(f"- {n}." for n in dict.fromkeys((*ours.get("notes", ()), *theirs.get("notes", ())))),
        ]
    )


def sections(records: Records) -> list[str]:
    """Every way's whole training beside the trainer's of the same rows and tokens."""
    raws: Sequence[Mapping[str, Any]] = [r for r in records.values() if r["case"] == CASE]
    alike = ("rows", "tokens", "epochs", "device_key")
    return [
        section(ours, theirs)
        for ours in raws
        for theirs in raws
        if ours["way"] != TRAINER == theirs["way"] and all(ours[k] == theirs[k] for k in alike)
    ]
