"""The lane's tables of sides that stepped in turn: fair denominators, peers, and the frontier."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging.report.lane import roofline
from harness.judging.report.lane.alone import gigabytes
from harness.judging.report.lane.safety import (
    AUTOCAST,
    NOISY,
    NONE,
    Failure,
    Noise,
    failures,
    largest_gap,
)
from harness.judging.report.lane.sides import (
    PEERS,
    TRAINER,
    peers,
    probed,
    provenance,
    superseded,
)
from harness.recipe.published import REFERENCE
from harness.recipe.ways import VARIANTS
from harness.records.statistics import Ratio, ratio
from harness.records.steps import Side
from harness.records.typed import build

Records = Mapping[str, Mapping[str, Any]]
CASE, PROBE = "contest", "compiled_nan"
# GB of 1e9 that a card may have left for a step.
LIMITS = (8, 10, 16, 24, 32, 48, 80)


@dataclass(frozen=True)
class Goal:
    """What a way has to reach: at most `peak` GB, at least `times` a side's speed."""

    against: str
    what: str
    peak: float
    times: float


GOALS = (
    Goal("unsloth", "Unsloth as it comes", 8.9, 1.2),
    Goal("unsloth_kept", "Unsloth without checkpointing", 31.0, 1.4),
    Goal(TRAINER, "SFTTrainer as installed", 9.8, 1.8),
)
WANTED_MFU = 0.60
STEP_SAMPLES = (
    REFERENCE.training.per_device_train_batch_size * REFERENCE.training.gradient_accumulation_steps
)
# Of the checks that a side fails so many are named; all follow from its record.
NAMED = 3


@dataclass(frozen=True)
class Entry:
    """One side of one contest. speed: samples a second. peak: bytes, of the timed steps. mfu:
    work that the step needs over the matmul rate of the process. against: times another side's
    speed, by its name. superseded: why its speed and peak no longer count."""

    side: Side
    tokens: int
    samples: int
    speed: float
    peak: int
    mfu: float
    gap: float
    why_unsafe: tuple[Failure, ...]
    against: Mapping[str, Ratio]
    superseded: str

    @property
    def name(self) -> str:
        """The way's."""
        return self.side.name

    @property
    def is_own(self) -> bool:
        """A way of harness/recipe/ways.py, no peer and no trainer."""
        return self.name in VARIANTS

    @property
    def is_cached(self) -> bool:
        """The tower does not run in every step."""
        return self.is_own and VARIANTS[self.name].tower == "cached"

    @property
    def counts(self) -> bool:
        """A way that may be recommended."""
        known = self.is_own and self.name not in NOISY
        return known and not self.why_unsafe and not self.superseded


def sides_of(raw: Mapping[str, Any]) -> dict[str, Side]:
    """By name; sides that failed are left out."""
    return {n: build(Side, s) for n, s in raw["sides"].items() if "failed" not in s}


def noise_for(raw: Mapping[str, Any], records: Records) -> Noise:
    """What the noisy sides of a device's contests did at the same tokens and samples."""
    alike = [
        other
        for other in records.values()
        if other["case"] == CASE
        and other["tokens"] == raw["tokens"]
        and other["batch"]["samples"] == raw["batch"]["samples"]
    ]
    return Noise.of([s for one in alike for n, s in sides_of(one).items() if n in NOISY])


def entries(raw: Mapping[str, Any], noise: Noise = NONE) -> list[Entry]:
    """Of one contest's record, the fastest first; sides that failed are left out."""
    past = raw.get("superseded", {})
    sides = sides_of(raw)
    truth, cut = sides[raw["truth"]], raw["warm_up"]
    timed = {name: [s.seconds for s in side.steps[cut:]] for name, side in sides.items()}
    collected = []
    for name, side in sides.items():
        middle = statistics.median(timed[name])
        common = {
            other: min(len(timed[name]), len(timed[other]))
            for other in (*PEERS, TRAINER, raw["truth"])
            if other in sides and other != name and other not in past
        }
        collected.append(
            Entry(
                side,
                raw["tokens"],
                raw["batch"]["samples"],
                raw["batch"]["samples"] / middle,
                max(step.peak for step in side.steps[cut:]),
                raw["work"][name]["useful"] / middle / raw["matmul_rate"],
                largest_gap(side, truth),
                failures(side, truth, AUTOCAST, noise),
                {o: ratio(timed[name][:n], timed[o][:n]) for o, n in common.items()},
                past.get(name, ""),
            )
        )
    return sorted(collected, key=lambda entry: -entry.speed)


def _safety(entry: Entry) -> str:
    if not entry.why_unsafe:
        return "yes"
    checks = list(dict.fromkeys(failure.check for failure in entry.why_unsafe))
    more = f" and {len(checks) - NAMED} more" if len(checks) > NAMED else ""
    return f"**no**: {', '.join(checks[:NAMED])}{more}"


def table(contenders: Sequence[Entry], against: Sequence[str]) -> str:
    """One contest's sides, the fastest first."""
    columns = "".join(f" times `{name}` (95 %) |" for name in against)
    head = f"| side | samples/s | peak GB | MFU |{columns} loss gap | safe |"
    lines = [head, "|---" * (6 + len(against)) + "|"]
    for entry in contenders:
        cells = [
            f"{r.median:.2f} ({r.low:.2f}–{r.high:.2f})" if r is not None else ""
            for r in (entry.against.get(name) for name in against)
        ]
        mark = " (superseded)" if entry.superseded else ""
        lines.append(
            f"| `{entry.name}`: {entry.side.what}{mark} | {entry.speed:.2f} | "
            f"{gigabytes(entry.peak)} | {entry.mfu:.3f} |"
            + "".join(f" {cell} |" for cell in cells)
            + f" {entry.gap:.1e} | {_safety(entry)} |"
        )
    return "\n".join(lines)


def goals(contenders: Sequence[Entry]) -> str:
    """What was to be reached against each denominator of the contest, tower run in every step."""
    lines = []
    for goal in GOALS:
        able = [
            e
            for e in contenders
            if e.counts
            and not e.is_cached
            and e.peak <= goal.peak * 1e9
            and goal.against in e.against
        ]
        best = max(able, key=lambda e: e.against[goal.against].median, default=None)
        if best is None:
            continue
        times = best.against[goal.against]
        met = "reached" if times.median >= goal.times else "**not reached**"
        lines.append(
            f"- At most {goal.peak} GB, wanted {goal.times}× {goal.what}: `{best.name}`, "
            f"{gigabytes(best.peak)} GB, {times.median:.2f}× ({times.low:.2f}–{times.high:.2f}): "
            f"{met}."
        )
    # What is wanted of the recipe's step says nothing of smaller ones.
    run = [e for e in contenders if e.counts and not e.is_cached and e.samples == STEP_SAMPLES]
    if run:
        best = max(run, key=lambda e: e.mfu)
        met = "reached" if best.mfu >= WANTED_MFU else "**not reached**"
        lines.append(
            f"- Fastest with the tower run in every step: `{best.name}`, MFU {best.mfu:.3f} "
            f"(wanted {WANTED_MFU}: {met})."
        )
    return "\n".join(lines)


def frontier(contenders: Sequence[Entry], *, cached: bool) -> dict[int, Entry]:
    """The fastest way that counts for each limit in GB; limits without one are left out."""
    able = [e for e in contenders if e.counts and e.is_cached is cached]
    best = {}
    for limit in LIMITS:
        inside = [e for e in able if e.peak <= limit * 1e9]
        if inside:
            best[limit] = max(inside, key=lambda e: e.speed)
    return best


def frontiers(contenders: Sequence[Entry]) -> str:
    """Both frontiers as sentences: the tower run in every step, and its output kept; empty where
    no way counts."""
    if not any(entry.counts for entry in contenders):
        return ""
    lines = []
    for cached, words in ((False, "tower run in every step"), (True, "tower's output kept")):
        best = frontier(contenders, cached=cached)
        if best:
            text = "; ".join(
                f"{limit} GB `{e.name}` {e.speed:.1f} samples/s" for limit, e in best.items()
            )
            lines.append(f"- The fastest safe way within, {words}: {text}.")
        left = [str(limit) for limit in LIMITS if limit not in best]
        if left:
            lines.append(f"- Nothing safe was measured within {', '.join(left)} GB, {words}.")
    return "\n".join(lines)


def _side(raw: Mapping[str, Any]) -> str:
    return ", padded on the right" if raw.get("padding") == "right" else ""


def _roofline(records: Records, contenders: Sequence[Entry]) -> str:
    """Of the fastest that counts and runs the tower; empty without one."""
    run = [e for e in contenders if e.counts and not e.is_cached]
    if not run:
        return ""
    best = max(run, key=lambda e: e.speed)
    seconds = best.samples / best.speed
    return "\n".join(roofline.sections(records, best.tokens, best.samples, best.mfu, seconds))


def sections(records: Records) -> list[str]:
    """Every contest of a device and what was probed beside them, as Markdown parts."""
    pieces: list[str] = []
    for raw in records.values():
        if raw["case"] != CASE:
            continue
        contenders = entries(raw, noise_for(raw, records))
        against = [
            n for n in (*PEERS, TRAINER, raw["truth"]) if any(n in e.against for e in contenders)
        ]
        samples = raw["batch"]["samples"]
        pieces += [
            f"### Sides in turn: {raw['tokens']} tokens, {samples} samples a step{_side(raw)}",
            provenance(raw),
            table(contenders, against),
            goals(contenders),
            frontiers(contenders),
            _roofline(records, contenders),
            peers(raw),
            superseded(raw),
            "\n".join(f"- {note}." for note in raw.get("notes", ())),
        ]
    pieces += [
        roofline.alone(raw, WANTED_MFU) for raw in records.values() if raw["case"] == roofline.ALONE
    ]
    pieces += [probed(raw) for raw in records.values() if raw["case"] == PROBE]
    return [part for part in pieces if part]
