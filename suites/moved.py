"""What moved between neighbouring releases of transformers: golden/matrix/moved.json.

`python -m suites.moved MATRIX.toml… COMPARISON/…` writes it from the kept cells of matrices, for
each cell the pairs of it and of its left neighbour that differ, whole, and from comparisons, but
for what their experiments showed to follow. What was measured earlier and not again stays. The
register is held against it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.register import Change
from harness.judging.compare.rungs import pairs_of
from harness.judging.matrix.cells import Cell, cells_of
from harness.judging.matrix.judge import Yardstick, read_yardstick
from harness.judging.matrix.memo import Measured
from harness.judging.matrix.run import kept_cells
from harness.judging.matrix.spec import read_asked, spec_of
from harness.records.failure import Failure
from harness.records.folders import GOLDEN
from harness.records.machine import RELEVANT
from harness.records.record import Status, Verdict, read_records
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Json, build

PATH = GOLDEN / "matrix" / "moved.json"
SCHEMA = 1
MEND = "restore it from git"
# Of a comparison's side: what it made of the other's adapter.
CROSSED = "crossed"


@dataclass(frozen=True)
class MovedSide:
    """One side of a pair. error: in place of a value, for people."""

    status: Status | None
    value: Json = None
    error: str = ""
    failure: Failure | None = None

    @property
    def side(self) -> Side:
        """For the register."""
        return Side(self.status, self.value, "measured", self.error, failure=self.failure)


@dataclass(frozen=True)
class MovedPair:
    """A difference, as Pair has it."""

    finding: str
    verdict: Verdict
    old: MovedSide
    new: MovedSide
    standing: str = ""
    broken: str = ""
    gap: float | None = None

    @property
    def pair(self) -> Pair:
        """For the register."""
        rung, metric, *case = self.finding.split(".", 2)
        return Pair(
            self.finding,
            rung,
            metric,
            "".join(case),
            self.verdict,
            self.old.side,
            self.new.side,
            standing=self.standing,
            broken=self.broken,
            gap=self.gap,
        )


@dataclass(frozen=True)
class Step:
    """Two neighbours of a row of a matrix. old, new: versions of what decides results."""

    model: str
    family: str
    old: Mapping[str, str]
    new: Mapping[str, str]
    pairs: tuple[MovedPair, ...]

    @property
    def title(self) -> str:
        """For people: of transformers, else of what else moved."""
        others = (name for name, old in self.old.items() if self.new.get(name) != old)
        name = "transformers"
        if self.old[name] == self.new[name]:
            name = next(others, name)
        words = "" if name == "transformers" else f"{name} "
        return f"{self.model} {words}{self.old[name]} to {self.new[name]}"

    @property
    def sides(self) -> tuple[object, ...]:
        """What was measured: a model on two sets of versions."""
        return self.model, sorted(self.old.items()), sorted(self.new.items())


@dataclass(frozen=True)
class Moved:
    """All of them."""

    steps: tuple[Step, ...]
    schema: int = SCHEMA


def read_moved(path: Path = PATH) -> tuple[Step, ...]:
    """Every step. Raises Damaged where the file is not as it was written."""
    return build(Moved, read_sealed(path, MEND)).steps


def steps_of(cells: Sequence[Cell], yardstick: Yardstick) -> Iterator[Step]:
    """The steps of a matrix' kept cells, in its order; those without a difference too."""
    kept, left = kept_cells(), dict[str, Measured]()
    for cell in cells:
        if not kept.has_records(cell):
            continue
        here = Measured(cell, kept)
        if there := left.get(cell.model):
            yield step_of((there.folder, here.folder), yardstick)
        left[cell.model] = here


def step_of(folders: tuple[Path, Path], yardstick: Yardstick) -> Step:
    """What moved between two folders of records, adapters that each read of the other too."""
    records = read_records(folders[0]), read_records(folders[1])
    pairs = pairs_of(records, folders, yardstick.bands, yardstick.of(*folders))
    crossed = folders[0] / CROSSED, folders[1] / CROSSED
    if crossed[1].is_dir():
        read = read_records(crossed[0]), read_records(crossed[1])
        pairs += pairs_of(read, crossed, yardstick.bands, yardstick.goldens)
    places = [next(iter(side.values())).provenance for side in records]
    old, new = (
        {name: place.versions[name] for name in RELEVANT if name in place.versions}
        for place in places
    )
    kept = (p for p in pairs if p.differs or _begins(p) or _is_sign(p, yardstick.register))
    moved = tuple(map(_moved, kept))
    return Step(places[1].model, places[1].family, old, new, moved)


def compared(folder: Path, yardstick: Yardstick) -> Step:
    """What moved in a comparison and follows from nothing that moved in it."""
    findings = read_sealed(folder / "comparison.json", "compare anew")["findings"]
    following = {finding["id"] for finding in findings if finding["cause"]}
    step = step_of((folder / "old", folder / "new"), yardstick)
    return replace(step, pairs=tuple(p for p in step.pairs if p.finding not in following))


def _begins(pair: Pair) -> bool:
    """Whether one side alone could measure it."""
    return {pair.old.status, pair.new.status} == {Status.NOT_RUN, Status.OK}


def _is_sign(pair: Pair, register: Sequence[Change]) -> bool:
    """Whether it moved inside its band, and a known change is seen by that."""
    signs = {when.metric for known in register for when in known.when if when.is_inside}
    return pair.verdict is Verdict.SAME and bool(pair.gap) and pair.metric_id in signs


def _moved(pair: Pair) -> MovedPair:
    old, new = (MovedSide(s.status, s.value, s.error, s.failure) for s in (pair.old, pair.new))
    return MovedPair(pair.finding, pair.verdict, old, new, pair.standing, pair.broken, pair.gap)


def main(words: Sequence[str]) -> None:
    """Write the document."""
    yardstick, measured = read_yardstick(), list[Step]()
    for path in map(Path, words):
        if path.is_dir():
            measured.append(compared(path, yardstick))
        else:
            measured += steps_of(cells_of(spec_of(read_asked(path))), yardstick)
    again = [step.sides for step in measured]
    stayed = [step for step in read_moved() if step.sides not in again]
    write_sealed(PATH, asdict(Moved((*stayed, *measured))))


if __name__ == "__main__":
    main(sys.argv[1:])
