"""Which release of transformers brought a fault, and which took it away: from the committed matrix
and from a second one of releases between its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from packaging.version import Version

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Table
from harness.judging.report.ci.markdown import cell as escaped
from harness.judging.report.matrix.names import model_name
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed
from harness.records.typed import build

RELEASES = GOLDEN / "matrix" / "releases.json"
RELEASES_SCHEMA = 1
PACKAGE = "transformers"
_VARIED = re.compile(rf"{PACKAGE}==([^,]+)")


@dataclass(frozen=True)
class Releases:
    """days: of every final release of transformers that is not yanked, by version. asked: the day
    on which the index was."""

    asked: str
    days: Mapping[str, str]
    schema: int = RELEASES_SCHEMA

    @property
    def ordered(self) -> tuple[str, ...]:
        """Oldest version first."""
        return tuple(sorted(self.days, key=Version))

    def last_of_minors(self, first: str) -> tuple[str, ...]:
        """The last release of every minor from that of `first` on."""
        last = {Version(one).release[:2]: one for one in self.ordered}
        return tuple(one for minor, one in last.items() if minor >= Version(first).release[:2])


def releases() -> Releases:
    """As they are kept."""
    return build(Releases, read_sealed(RELEASES, "write the matrix again"))


@dataclass(frozen=True)
class Boundary:
    """Where a finding ends, or begins. before, after: neighbouring releases that were measured.
    begins: whether it is wrong on `after`. exact: whether no release lies between them."""

    families: tuple[str, ...]
    finding: str
    before: str
    after: str
    begins: bool
    exact: bool

    def line(self, days: Mapping[str, str]) -> str:
        """A row of a table."""
        release = f"{self.after} ({days[self.after]})"
        where = release if self.exact else f"after {self.before}, by {release}"
        what = "begins" if self.begins else "ends"
        families = ", ".join(map(escaped, self.families))
        return f"| {where} | {what} | `{self.finding}` | {families} |"


def boundaries(tables: Sequence[Table], every: Releases) -> tuple[Boundary, ...]:
    """Of every finding that no list knows, by its metric: a fault of several cases is one."""
    order = every.ordered
    edges: dict[tuple[str, str, str, bool], list[str]] = {}
    for family, cells in _by_family(tables).items():
        for finding in sorted({name for cell, _ in cells for name in _wrong(cell)}):
            rung = finding.partition(".")[0]
            known = {_release(c): finding in _wrong(c) for c, rungs in cells if rung in rungs}
            for before, after in pairwise(sorted(known, key=Version)):
                if known[before] != known[after]:
                    edges.setdefault((before, after, finding, known[after]), []).append(family)
    return tuple(
        Boundary(
            tuple(families),
            finding,
            before,
            after,
            begins,
            order.index(after) == order.index(before) + 1,
        )
        for (before, after, finding, begins), families in sorted(
            edges.items(), key=lambda edge: (Version(edge[0][1]), edge[0][2])
        )
    )


def _by_family(tables: Sequence[Table]) -> dict[str, list[tuple[CellEntry, tuple[str, ...]]]]:
    """The measured cells of every family, each with its rungs."""
    rows: dict[str, list[tuple[CellEntry, tuple[str, ...]]]] = {}
    for table in tables:
        for cell in table.cells:
            if cell.state is State.MEASURED:
                rows.setdefault(model_name(cell.model), []).append((cell, table.rungs))
    return rows


def _wrong(cell: CellEntry) -> set[str]:
    return {".".join(w.finding.split(".")[:2]) for w in cell.wrong if not w.known}


def _release(cell: CellEntry) -> str:
    match = _VARIED.search(cell.stack)
    return match[1] if match else cell.versions[PACKAGE]


HEAD = """\
# Which release brought a fault, and which took it away

Of transformers, for every family's tiny model on a CPU: each release that begins or ends a finding
which nobody has listed. Where a line names one release alone, it and the one before it were
measured and no other lies between them. [All families](README.md)

"""


def page(tables: Sequence[Table]) -> str:
    """All of them, oldest release first."""
    every = releases()
    edges = boundaries(tables, every)
    exact = sum(edge.exact for edge in edges)
    lines = [f"{exact} of {len(edges)} are exact."] if edges else ["There is none."]
    lines += ["", "| release | | finding | families |", "|---|---|---|---|"]
    lines += [edge.line(every.days) for edge in edges]
    return HEAD + "\n".join(lines) + "\n"


def final(days: Mapping[str, str], yanked: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The final releases among those of an index, with their days."""
    for version, day in days.items():
        if version not in yanked and not Version(version).is_prerelease:
            yield version, day
