"""What a matrix will take before it is begun: cells, environments, disk, time."""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.judging.environments.build import NEEDED_BYTES
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.kept import Outcome, State

# Where nothing like it was ever measured: a rung of a tiny model, and the start of its process.
GUESS_S, START_S = 4.0, 8.0
# Of an environment that has to be built: to download and to link it.
BUILD_S = 60.0


class Pace:
    """Seconds that a cell takes, by what was measured before: the same model and rungs, else the
    same model by the rung, else a guess."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._same: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)
        self._model: dict[str, list[float]] = defaultdict(list)
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        """Take one more into account; what a killed driver left has no time."""
        if outcome.seconds and outcome.state in {State.MEASURED, State.NOT_RUN}:
            self._same[outcome.model, outcome.rungs].append(outcome.seconds)
            if outcome.state is State.MEASURED:
                self._model[outcome.model].append(outcome.seconds / max(len(outcome.rungs), 1))

    def of(self, cell: Cell) -> float:
        """Seconds that a cell will take."""
        if same := self._same.get((cell.model, cell.rungs)):
            return sum(same) / len(same)
        if rung := self._model.get(cell.model):
            return len(cell.rungs) * sum(rung) / len(rung)
        return START_S + GUESS_S * len(cell.rungs)

    def knows(self, cell: Cell) -> bool:
        """Whether a cell like it was measured before."""
        return cell.model in self._model

    def left(self, cells: Iterable[Cell], workers: int) -> float:
        """Seconds until so many at once have measured them all."""
        return sum(map(self.of, cells)) / workers


@dataclass(frozen=True)
class Forecast:
    """cells: all that were asked for. kept: measured before. todo: to be measured. environments: of
    what is to be measured. to_build: of them not there. disk_bytes: for those at most. free_bytes:
    on their disk. seconds: by the pace of earlier cells; guessed: for how many it is a guess."""

    cells: int
    kept: int
    todo: tuple[str, ...]
    environments: tuple[str, ...]
    to_build: tuple[str, ...]
    disk_bytes: int
    free_bytes: int
    seconds: float
    guessed: int


def forecast(
    cells: Sequence[Cell],
    outcomes: Mapping[str, Outcome],
    pace: Pace,
    workers: int,
    root: Path,
) -> Forecast:
    """What is to be done. outcomes: of the cells that are kept, by key. root: of the
    environments."""
    todo = list({cell.key: cell for cell in cells if cell.key not in outcomes}.values())
    stacks = {cell.stack.text: cell.stack for cell in todo}
    building = [s for s in stacks.values() if s.marker and not Path(s.marker).is_file()]
    place = root
    while not place.exists():
        place = place.parent
    return Forecast(
        cells=len(cells),
        kept=sum(cell.key in outcomes for cell in cells),
        todo=tuple(cell.title for cell in todo),
        environments=tuple(stack.label for stack in stacks.values()),
        to_build=tuple(stack.label for stack in building),
        disk_bytes=NEEDED_BYTES * len(building),
        free_bytes=shutil.disk_usage(place).free,
        seconds=pace.left(todo, workers) + BUILD_S * len(building),
        guessed=sum(not pace.knows(cell) for cell in todo),
    )


def duration(seconds: float) -> str:
    """For people, rounded up: `40 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
