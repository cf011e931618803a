"""What a row of a matrix says, finding by finding: what lasts for twenty releases is said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.judging.matrix.table import CellEntry, Moved, Wrong
from harness.records.record import RUNGS


@dataclass(frozen=True)
class Lasting:
    """Values of one metric that miss their truths, or break, on the same stacks of a row and for
    the same reason. first: one of them, as it is on the leftmost stack. where: the stacks, for
    people. cases: how many values."""

    metric: str
    first: Wrong
    where: str
    cases: int


@dataclass(frozen=True)
class Change:
    """One metric that moved from a stack to the next measured one. cases: how many of its values.
    known: the register's entries that explain them, none where it is unknown."""

    before: str
    after: str
    metric: str
    known: tuple[str, ...]
    cases: int
    first: Moved


def metric_of(finding: str) -> str:
    """`RUNG.METRIC` of a finding, without its case."""
    return ".".join(finding.split(".")[:2])


def counted(names: Iterable[str]) -> str:
    """`a (2), b`: each name once, with how often it came."""
    counts = Counter(names)
    return ", ".join(f"{name} ({n})" if n > 1 else name for name, n in counts.items())


def lasting(row: Sequence[CellEntry], names: Mapping[str, str], *, known: bool) -> list[Lasting]:
    """What of a row is wrong, as somebody has listed it or as nobody has: in ladder order."""
    measured = [cell for cell in row if cell.right or cell.wrong]
    columns = [names[cell.stack] for cell in measured]
    places: dict[str, list[int]] = {}
    first: dict[str, Wrong] = {}
    for i, cell in enumerate(measured):
        for wrong in cell.wrong:
            if wrong.known == known:
                first.setdefault(wrong.finding, wrong)
                places.setdefault(wrong.finding, []).append(i)
    alike: dict[tuple[str, str, str], list[Wrong]] = {}
    for finding, at in places.items():
        key = (metric_of(finding), _where(at, columns), first[finding].reason)
        alike.setdefault(key, []).append(first[finding])
    whole = [
        Lasting(metric, each[0], where, len(each)) for (metric, where, _), each in alike.items()
    ]
    return sorted(whole, key=lambda each: RUNGS.index(each.first.rung))


def _where(places: Sequence[int], columns: Sequence[str]) -> str:
    """`5.0 to 5.1, 5.3`: runs of neighbours."""
    runs = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    parts = [[columns[place] for _, place in run] for _, run in runs]
    return ", ".join(part[0] if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)


def changes(row: Sequence[CellEntry], names: Mapping[str, str]) -> Iterator[Change]:
    """What moved from one measured stack to the next, metric by metric."""
    for cell in row:
        alike: dict[tuple[str, tuple[str, ...]], list[Moved]] = {}
        for moved in cell.moved:
            alike.setdefault((metric_of(moved.finding), moved.changes), []).append(moved)
        for (metric, known), items in alike.items():
            place = (names[cell.left], names[cell.stack])
            yield Change(*place, metric, known, len(items), items[0])
