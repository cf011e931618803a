"""A matrix of cells that a small script measures: no library, no environment, milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.judging.matrix.cells import Cell, StackHere
from harness.judging.matrix.driver import log_of, measure_cells
from harness.judging.matrix.kept import Kept, Outcome
from harness.judging.workers.engines import Settings, open_engine
from harness.judging.workers.running import Command
from harness.records.record import Metric, Provenance, Record, write_record

RUNGS = ("text", "ids")
# Copies the records that the test has prepared, and says in a file of its own that it did.
MEASURES = """
import os, pathlib, shutil, sys, time
part, source, count, pause = sys.argv[1:]
with open(count, "a") as file:
    file.write(part.rsplit("/", 1)[1] + "\\n")
time.sleep(float(pause))
os.makedirs(part)
for path in pathlib.Path(source).iterdir():
    shutil.copy(path, part)
"""


def record(rung: str, stack: str, model: str, value: float) -> Record:
    """A record of one value."""
    place = Provenance(
        stack,
        model,
        "catalogue",
        "cpu-x",
        "r",
        "s",
        # Every stack has a release of its own.
        {"transformers": f"{ord(stack[0]) - ord('a') + 1}.0"},
        created="2026-11-29T00:00:00+00:00",
        family="qwen2_vl",
    )
    return Record(rung, place, (Metric(rung, "value", "a", value),), 1.0)


def cell(stack: str, model: str = "tiny:qwen2_vl") -> Cell:
    """A cell of a stack that is used as it is."""
    here = StackHere(stack, stack, stack)
    return Cell(here, model, "reference", "cpu", RUNGS, 1, f"{stack}-{model.replace(':', '-')}")


def prepared(folder: Path, each: Cell, value: float = 1.0) -> Path:
    """The records that a cell's script will find."""
    source = folder / "sources" / each.key
    for rung in each.rungs:
        write_record(record(rung, each.stack.label, each.model, value), source)
    return source


def scripted(
    folder: Path, code: str = MEASURES, pause: float = 0.0
) -> Callable[[Cell, Path, Path, float], Command]:
    """A cell's command: the script, on what the test has prepared."""

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        source, count = folder / "sources" / each.key, folder / "count"
        words = (sys.executable, "-I", "-S", "-c", code, str(part), str(source), str(count))
        return Command(each.key, (*words, str(pause)), log_of(part), limit_s)

    return command


def measured_by(folder: Path) -> list[str]:
    """The cells that a script was begun for, once for each time."""
    path = folder / "count"
    return path.read_text().splitlines() if path.is_file() else []


def measure(
    folder: Path,
    cells: Sequence[Cell],
    command: Callable[[Cell, Path, Path, float], Command],
    *,
    engine: str = "local",
    workers: int = 2,
    limit_s: float = 60.0,
    tick: Callable[[], None] = lambda: None,
    options: dict[str, str] | None = None,
) -> dict[str, Outcome]:
    """What became of the cells that are not kept in the folder."""
    kept = Kept(folder / "kept")
    outcomes = {c.key: o for c in cells if (o := kept.outcome(c)) is not None}

    def told(each: Cell, outcome: Outcome) -> None:
        outcomes[each.key] = outcome

    todo = [c for c in cells if c.key not in outcomes]
    settings = Settings(workers, folder / "engine", options or {})
    with open_engine(engine, settings) as opened:
        measure_cells(
            todo, kept, opened, told, limit_s, lambda text: Path(sys.executable), command, tick
        )
    return outcomes
