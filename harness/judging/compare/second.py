"""A second look before an alarm: what may be noise is measured again, alone, and called spurious
where it does not come back.

Pure. A value may be noise where its band allows a distance:
what is exact, on either look, is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.compare.pairs import CROSSED, DIFFERENT, Pair
from harness.judging.goldens.golden import BandKind
from harness.records.record import RUNGS, Status, Verdict

DISTANCES = frozenset({BandKind.ABSOLUTE, BandKind.RELATIVE})
# What is installed and how it is called differs between any two stacks, and explains no number.
AROUND = frozenset({"environment", "interface"})


@dataclass(frozen=True)
class SecondLook:
    """A difference that may be noise: as it was seen first, and measured again alone."""

    first: Pair
    again: Pair

    @property
    def came_back(self) -> bool:
        """Whether it is there again; else it is spurious."""
        return self.again.verdict is not Verdict.SAME


def may_be_noise(pair: Pair) -> bool:
    """Whether two measured values lie further apart than a band that allows a distance."""
    measured = pair.old.status is pair.new.status is Status.OK
    return measured and pair.verdict in DIFFERENT and pair.band.kind in DISTANCES


def noisy_rungs(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """The rungs to look at again: those where only noise speaks, and nothing exact at them or
    before them, which would explain it."""
    exact = {p.rung for p in pairs if p.differs and not may_be_noise(p)} - AROUND
    first = min((RUNGS.index(rung) for rung in exact), default=len(RUNGS))
    # What needs both stacks at once is measured by no side alone.
    noisy = {p.rung for p in pairs if may_be_noise(p) and p.metric not in CROSSED}
    return tuple(rung for rung in RUNGS[:first] if rung in noisy)


def settle(
    pairs: Sequence[Pair], again: Sequence[Pair]
) -> tuple[tuple[Pair, ...], tuple[SecondLook, ...]]:
    """(pairs, looks): what did not come back stands as it was seen the second time."""
    seen = {pair.finding: pair for pair in again}
    looks = tuple(
        SecondLook(pair, seen[pair.finding])
        for pair in pairs
        if may_be_noise(pair) and pair.finding in seen
    )
    calm = {look.first.finding: look.again for look in looks if not look.came_back}
    return tuple(calm.get(pair.finding, pair) for pair in pairs), looks
