"""The judging world starts without the five heavy libraries, and every layer keeps its place."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "trl", "peft", "bitsandbytes"}
JUDGING = (
    "errors", "record", "recorder", "recipe", "context", "golden", "compare", "observe",
    "runner", "session", "stack", "environment", "doctor", "report", "commands", "cli",
)  # fmt: skip


def imported(path: Path, *, top_level_only: bool) -> set[str]:
    """First components of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_no_module_of_ours_imports_a_heavy_library_at_its_top(repository: Path) -> None:
    files = sorted((repository / "harness").rglob("*.py"))
    assert len(files) > 20
    guilty = {str(f): imported(f, top_level_only=True) & HEAVY for f in files}
    assert not {f: names for f, names in guilty.items() if names}


@pytest.mark.parametrize("name", [n for n in JUDGING if n not in {"session", "doctor"}])
def test_judging_modules_import_none_even_inside_functions(name: str, repository: Path) -> None:
    path = repository / "harness" / f"{name}.py"
    files = sorted((repository / "harness" / name).rglob("*.py")) if not path.is_file() else [path]
    assert files, f"harness/{name} is gone; mend JUDGING"
    for file in files:
        assert not imported(file, top_level_only=False) & HEAVY, file


def test_the_command_line_starts_without_them() -> None:
    code = (
        "import sys, harness.commands, harness.compare, harness.report, harness.runner; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_but_the_parser() -> None:
    code = (
        "import sys, harness.cli; harness.cli.build_parser(); "
        "print(sorted(m for m in sys.modules if m in {'numpy', 'rich', 'safetensors'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_long_and_none_is_called_utils(repository: Path) -> None:
    files = sorted((repository / "harness").rglob("*.py"))
    long = {f.name: n for f in files if (n := len(f.read_text("utf-8").splitlines())) > 360}
    assert not long
    assert not [f for f in files if f.name == "utils.py"]
