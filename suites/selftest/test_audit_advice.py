"""Every check of an audit has advice, and no advice is for a check that is gone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.judging.audit.advice import FOLDER, filed
from harness.judging.audit.asking import CHECKERS, rungs

# Methods of Findings, and helpers of checks that hand a name on to them.
_CALLS = {"put", "record", "not_run", "broken", "attempt"}
_HELPERS = {"_held": 2, "_rows": 1, "_put": 1}


def _imported(path: Path) -> list[Path]:
    """A rung's file and those helpers beside it that it imports."""
    seen, todo = [], [path]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.append(file)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "harness.measuring.audit.checks"
            ):
                names = [*(a.name for a in node.names), (node.module or "").rsplit(".", 1)[-1]]
                todo += [f for n in names if (f := CHECKERS / f"{n}.py").is_file()]
    return seen


def _names(path: Path) -> set[str]:
    """The check names that a file writes out."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        place = None
        if isinstance(function, ast.Attribute) and function.attr in _CALLS:
            place = 0
        elif isinstance(function, ast.Name):
            place = _HELPERS.get(function.id)
        if place is not None and len(node.args) > place:
            named = node.args[place]
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                names.add(named.value)
    return names


@pytest.mark.parametrize("rung", rungs())
def test_every_check_has_advice(rung: str) -> None:
    """A finding without advice cannot say what to change: the report would raise."""
    named = set().union(*(_names(file) for file in _imported(CHECKERS / f"{rung}.py")))
    assert named - set(filed(rung)) == set()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_advice_is_about_checks(path: Path) -> None:
    """An entry that no check has is a name that was misspelt, here or there."""
    files = _imported(CHECKERS / f"{path.stem}.py")
    texts = "\n".join(file.read_text("utf-8") for file in files)
    assert [name for name in filed(path.stem) if f'"{name}"' not in texts] == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_what_is_explained_exists(path: Path) -> None:
    """A finding can only explain checks that there are."""
    for name, advice in filed(path.stem).items():
        for metric in advice.explains:
            rung, explained = metric.split(".", 1)
            assert rung not in rungs() or explained in filed(rung), f"{path.stem}.{name}: {metric}"
