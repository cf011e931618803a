"""A second look at a run's findings that may be noise: measured again alone, and called spurious
where they do not come back.

Pure. Only an observed number with a band that allows a distance may be noise: a truth is
arithmetic, and what is exact is none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.judging.goldens.golden import BandKind
from harness.judging.goldens.judgement import RED, Judged, Judgement
from harness.records.record import RUNGS, Verdict

DISTANCES = frozenset({BandKind.ABSOLUTE, BandKind.RELATIVE})
# What is installed and how it is called is no number that noise moves, nor explains one.
AROUND = frozenset({"environment", "interface"})


def again_folder(run: Path) -> Path:
    """Where a run keeps the records of its second look."""
    return run / "again"


def may_be_noise(item: Judged) -> bool:
    """Whether a measured value lies further from an observed one than a band that allows a
    distance."""
    measured = item.verdict in RED and item.verdict is not Verdict.BROKEN
    return measured and item.kind == "observed" and item.band.kind in DISTANCES


def noisy_rungs(judgement: Judgement) -> tuple[str, ...]:
    """The rungs to look at again: those whose unexpected findings may be noise, with nothing
    exact and unexpected at them or before them, which would explain it."""
    exact = {item.rung for item in judgement.red if not may_be_noise(item)} - AROUND
    first = min((RUNGS.index(rung) for rung in exact), default=len(RUNGS))
    noisy = {item.rung for item in judgement.red if may_be_noise(item)}
    return tuple(rung for rung in RUNGS[:first] if rung in noisy)


def settled(judgement: Judgement, again: Judgement) -> Judgement:
    """The judgement with what did not come back as it was seen the second time."""
    seen = {item.finding: item for item in again.items}

    def settle(item: Judged) -> Judged:
        second = seen.get(item.finding)
        came_back = second is None or second.verdict is not Verdict.SAME
        if second is None or came_back or not (item.is_red and may_be_noise(item)):
            return item
        return replace(second, first_look=item.now)

    return replace(judgement, items=tuple(map(settle, judgement.items)))
