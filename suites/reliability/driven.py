"""`python -m suites.reliability.driven FOLDER PAGE`: the driver of a small matrix, to be killed.

Its cells say when they begin and when they have all their records; what it judges becomes a page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from harness.judging.goldens.bands import Bands
from harness.judging.goldens.golden import Golden
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.judge import Yardstick, judged_cells
from harness.judging.matrix.kept import Kept
from harness.judging.matrix.table import Table
from harness.judging.report.matrix.page import draw, write_matrix
from harness.records.alone import alone
from suites.selftest.cells import MEASURES, RUNGS, cell, measure, prepared, scripted

STACKS, MODELS = ("a", "b", "c", "d", "e", "f"), ("tiny:m0", "tiny:m1", "tiny:m2", "tiny:m3")
PAUSE_S = 0.15
WORKERS = {"local": 3, "ray": 8}
SAYS = """
with open(count, "a") as file:
    file.write("-" + part.rsplit("/", 1)[1] + "\\n")
"""
TRUTH = Golden("ids", "qwen2_vl", "value", "truth", "this battery", "it is one", {"a": 1.0})


def cells() -> list[Cell]:
    """24 cells."""
    return [cell(stack, model) for stack in STACKS for model in MODELS]


def prepare(folder: Path) -> None:
    """The records that the cells will have: some wrong, some moved."""
    for number, each in enumerate(cells()):
        prepared(folder, each, 1.0 + number % 3)


def drive(
    folder: Path, page: Path, engine: str = "local", tick: Callable[[], None] = lambda: None
) -> None:
    """Measure what is not kept, judge all, write the page; tick is called while cells run."""
    with alone(page):
        _drive(folder, page, engine, tick)


def _drive(folder: Path, page: Path, engine: str, tick: Callable[[], None]) -> None:
    command = scripted(folder, MEASURES + SAYS, PAUSE_S)
    outcomes = measure(folder, cells(), command, engine=engine, workers=WORKERS[engine], tick=tick)
    yardstick = Yardstick((TRUTH,), Bands({}, {}), (), digest="battery")
    entries = judged_cells(cells(), outcomes, Kept(folder / "kept"), yardstick, draw, page)
    table = Table(STACKS, MODELS, ("reference",), ("cpu",), RUNGS, entries)
    write_matrix(table, page)


if __name__ == "__main__":
    drive(Path(sys.argv[1]), Path(sys.argv[2]))
