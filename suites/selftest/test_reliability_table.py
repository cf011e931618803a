"""The battery's table is made of its figures, and of all of it."""

from __future__ import annotations

import ast
from pathlib import Path

from suites.reliability.table import FIGURES, HERE, TABLE, Line, merged, read, table


def test_the_table_is_made_of_the_figures() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(read())


def test_every_test_of_the_battery_has_run_in_full_and_nothing_else_stands_there() -> None:
    functions = {
        f"{path.name}::{node.name}"
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    lines = read(FIGURES)
    assert set(lines) <= functions, "a test of the battery is gone: take its figures out"
    assert functions <= set(lines), "run what is new: tox -e reliability, with its file"
    assert all(line.large for line in lines.values())
    assert not sum(line.failed for line in lines.values())


def test_parts_add_up(tmp_path: Path) -> None:
    """A part that runs again takes the place of its earlier figures."""
    path = tmp_path / "figures.json"
    merged(path, {"test_a.py::test_x": Line(1, 200, 0, 1.26), "test_b.py::test_y": Line(3)})
    merged(path, {"test_a.py::test_x": Line(1, 100, 0, 1.0)})
    assert read(path)["test_a.py::test_x"].number == 100
    assert read(path)["test_b.py::test_y"].number == 3
    assert "| a | x | 100 | 0 | 1.0 |" in table(read(path))
    assert "103 tries, 0 tests failed" in table(read(path))
