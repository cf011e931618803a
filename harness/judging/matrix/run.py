"""A matrix from its spec to its answer: what is kept, what is measured, what is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput, NotRunnable
from harness.judging.compare.sides import MEMORY_PER_CHILD, available_memory
from harness.judging.environments.build import NEEDED_BYTES, environment_for, environment_place
from harness.judging.environments.releases import released
from harness.judging.environments.room import MARK, make_room, wanted
from harness.judging.matrix.cells import Cell, cells_of, harness_digest
from harness.judging.matrix.driver import measure_cells, probing
from harness.judging.matrix.forecast import Forecast, Pace, forecast
from harness.judging.matrix.judge import Draw, judged_cells, read_yardstick
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.progress import Progress
from harness.judging.matrix.spec import MatrixSpec, usual_workers
from harness.judging.matrix.table import Table
from harness.judging.matrix.timeline import Days, rung_of, timelines
from harness.judging.workers.engines import Settings, open_engine
from harness.records.folders import cache_root
from harness.records.machine import visible_gpus

# Cells at once where this machine's cores say nothing.
ELSEWHERE = 16


@dataclass(frozen=True)
class How:
    """How a matrix is measured. workers: 0 as many as this machine can, 16 elsewhere. disk_bytes:
    of the environments together, 0 without a bound. again: whether cells that died or do not run
    are measured anew. options: of the engine."""

    engine: str = "local"
    workers: int = 0
    disk_bytes: int = 0
    again: bool = False
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """A matrix with what is kept of it. outcomes: by key."""

    spec: MatrixSpec
    how: How
    cells: tuple[Cell, ...]
    kept: Kept
    outcomes: dict[str, Outcome]
    pace: Pace

    @property
    def workers(self) -> int:
        """Cells at once; of what needs a GPU no more than there are GPUs here."""
        if self.how.workers or self.how.engine != "local":
            return self.how.workers or ELSEWHERE
        most = usual_workers(self.spec.threads, available_memory(), MEMORY_PER_CHILD)
        if self.spec.devices == ("cuda",):
            return max(len(visible_gpus()), 1)
        return most

    @property
    def todo(self) -> tuple[Cell, ...]:
        """What is not kept."""
        return tuple(cell for cell in self.cells if cell.key not in self.outcomes)

    def forecast(self) -> Forecast:
        """What is to be done."""
        root = cache_root() / "environments"
        return forecast(self.cells, self.outcomes, self.pace, self.workers, root)


def kept_cells() -> Kept:
    """Where cells are kept."""
    return Kept(cache_root() / "matrix")


def begin(spec: MatrixSpec, how: How) -> Begun:
    """Look up what is kept. Raises BadInput for a stack that is none, Damaged for a broken cell."""
    for metric in spec.metrics:
        if rung_of(metric) not in spec.rungs:
            raise BadInput(f"The matrix measures no {rung_of(metric)}, so it has no {metric}.")
    kept = kept_cells()
    cells = cells_of(spec)
    outcomes = {c.key: outcome for c in cells if (outcome := kept.outcome(c)) is not None}
    if how.again:
        outcomes = {k: o for k, o in outcomes.items() if o.state is State.MEASURED}
    return Begun(spec, how, cells, kept, outcomes, Pace(kept.outcomes()))


def measured(begun: Begun, out: Path, say: Callable[[str], None]) -> dict[str, Outcome]:
    """Measure what is not kept; every cell's outcome, by key.

    Raises KeyboardInterrupt where it was interrupted; what was measured is kept.
    """
    begun.kept.sweep()
    todo = begun.todo
    if not todo:
        return begun.outcomes
    if begun.how.again:
        for cell in todo:
            begun.kept.forget(cell)
    progress = Progress(todo, begun.pace, begun.workers, say)
    settings = Settings(begun.workers, out / "work" / "engine", begun.how.options)
    with open_engine(begun.how.engine, settings) as engine:
        measure_cells(
            todo,
            begun.kept,
            engine,
            progress.told,
            begun.spec.limit_s,
            _builder(begun, progress, say),
            probing,
        )
    return begun.outcomes | progress.outcomes


def _builder(begun: Begun, progress: Progress, say: Callable[[str], None]) -> Callable[[str], Path]:
    """Builds a stack's environment, within the bound of the disk."""
    markers = {cell.stack.text: cell.stack.marker for cell in begun.cells}
    used: dict[str, Path] = {}

    def build(text: str) -> Path:
        if not markers[text]:
            return environment_for(text)
        folder = environment_place(text)
        new = not Path(markers[text]).is_file()
        if new:
            say(f"building the environment of {text}")
            if begun.how.disk_bytes:
                keep = [folder, *(used[text] for text in progress.stacks_left if text in used)]
                for path in make_room(
                    begun.how.disk_bytes, NEEDED_BYTES, keep, cache_root() / "environments"
                ):
                    say(f"dropped the environment {path.name}")
        python = environment_for(text)
        if new or (folder / MARK).is_file():
            wanted(folder)
        used[text] = folder
        return python

    return build


def table_of(
    begun: Begun,
    outcomes: dict[str, Outcome],
    accepted: frozenset[str] = frozenset(),
    draw: Draw | None = None,
    out: Path | None = None,
    days: Days | None = None,
) -> Table:
    """The answer, by what is kept. draw: makes the pages of comparisons, into a folder of `out`.
    days: of releases, the registry's where nobody else's."""
    yardstick = read_yardstick(accepted)
    entries = judged_cells(begun.cells, outcomes, begun.kept, yardstick, draw, out)
    lines = timelines(
        begun.spec.metrics, begun.cells, outcomes, begun.kept, yardstick, days or released_days
    )
    shown = {w.finding for e in entries for w in e.wrong} | {
        m.finding for e in entries for m in e.moved
    }
    return Table(
        stacks=_labels(begun.cells),
        models=tuple(dict.fromkeys(cell.model for cell in begun.cells)),
        recipes=begun.spec.recipes,
        devices=begun.spec.devices,
        rungs=begun.spec.rungs,
        cells=entries,
        timelines=lines,
        stale_accepts=tuple(sorted(accepted - shown)),
        harness=harness_digest(),
    )


def released_days(package: str) -> Mapping[str, str]:
    """The registry's days of releases; none where it cannot be reached: a step needs no day."""
    try:
        return released(package)
    except (NotRunnable, BadInput):
        return {}


def _labels(cells: Sequence[Cell]) -> tuple[str, ...]:
    labels = tuple(dict.fromkeys(cell.stack.label for cell in cells))
    if len(labels) < len({cell.stack.text for cell in cells}):
        raise BadInput("Two stacks of the matrix are the same stack; name it once.")
    return labels
