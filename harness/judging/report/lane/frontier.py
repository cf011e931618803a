"""The speed-memory frontier of a device over all its contests: one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging.report.lane.alone import gigabytes
from harness.judging.report.lane.contest import CASE, LIMITS, Entry, entries, noise_for
from harness.recipe.published import REFERENCE
from harness.records.statistics import Ratio

Records = Mapping[str, Mapping[str, Any]]
# Every contest has it: runs are compared by what each side is to its own run's.
TRUTH = "published"
TOWER = {False: "run", True: "kept"}


@dataclass(frozen=True)
class Point:
    """The fastest safe way within a limit. first: the smallest of LIMITS, in GB, at which it is."""

    first: int
    entry: Entry
    times: Ratio


def points(candidates: Sequence[Entry]) -> list[Point]:
    """Where the fastest way changes as memory grows. Ways that do not count, and those of a run
    without TRUTH, are none; the truth itself is once its own speed."""
    able = [(e, times(e)) for e in candidates if e.counts]
    known = [(e, ratio) for e, ratio in able if ratio is not None]
    changes: list[Point] = []
    for limit in LIMITS:
        inside = [(e, ratio) for e, ratio in known if e.peak <= limit * 1e9]
        if not inside:
            continue
        entry, ratio = max(inside, key=lambda each: each[1].median)
        if not changes or changes[-1].entry != entry:
            changes.append(Point(limit, entry, ratio))
    return changes


def times(entry: Entry) -> Ratio | None:
    """Its speed in the published step's of the same run; None in a run without that."""
    if entry.name == TRUTH:
        return Ratio(1.0, 1.0, 1.0, 0)
    return entry.against.get(TRUTH)


def overview(records: Records) -> str:
    """By tokens and samples a micro-batch, the tower run and its output kept; empty without a
    contest."""
    together: dict[tuple[str, int, int], list[Entry]] = {}
    for raw in records.values():
        if raw["case"] == CASE and raw["truth"] == TRUTH:
            size = raw.get("size", REFERENCE.training.per_device_train_batch_size)
            contenders = entries(raw, noise_for(raw, records))
            key = (raw.get("model", ""), raw["tokens"], size)
            together.setdefault(key, []).extend(contenders)
    lines = []
    for (model, tokens, size), candidates in sorted(together.items()):
        which = f"{model}, " if len({name for name, *_ in together}) > 1 else ""
        for cached, tower in TOWER.items():
            for point in points([e for e in candidates if e.is_cached is cached]):
                lines.append(_row(f"{which}{tokens} × {size}", tower, point))
    if not lines:
        return ""
    return "\n".join(
        [
            "### The frontier: the fastest safe way within a card's memory",
            "",
            f"A row holds up to the next one's limit ({', '.join(map(str, LIMITS))} GB were "
            f"asked). Speeds are of several runs: what compares them is "
            f"how many times the `{TRUTH}` step of the same run, padded on the same side, each is. "
            "*Run*: the vision tower runs in every step. *Kept*: its output is kept on the card, "
            "which pays from the second epoch on; the peak holds that of a contest's own few "
            "pictures, each of the recipe's 1,345 takes image tokens × 3,584 × 2 bytes (predicted: "
            "6.5 GB for all at 676 tokens). Compilation is in no figure here.",
            "",
            "| tokens × samples | tower | from GB | way | peak GB | samples/s | "
            f"times `{TRUTH}` (95 %) |",
            "|---" * 7 + "|",
            *lines,
        ]
    )


def _row(what: str, tower: str, point: Point) -> str:
    entry, share = point.entry, point.times
    ratio = f"{share.median:.2f}"
    if entry.name != TRUTH:
        ratio += f" ({share.low:.2f}–{share.high:.2f})"
    return (
        f"| {what} | {tower} | {point.first} | `{entry.name}` | {gigabytes(entry.peak)} | "
        f"{entry.speed:.1f} | {ratio} |"
    )
