"""The two worlds meet only through processes and files, and every package keeps its place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HEAVY = {"torch", "transformers", "trl", "peft", "bitsandbytes"}
# What both worlds share, and the judging world itself: none of it reaches what is judged.
LIGHT = ("errors.py", "cli.py", "__main__.py", "records", "recipe", "data", "judging", "commands")
# The only modules that meet both worlds: pytest's session measures in its own process.
BOTH = {"harness.pytest_plugin"}


def files_of(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's tree, parsed once for all tests of this module."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All that its tree holds: walking takes several times as long as parsing."""
    return tuple(ast.walk(tree_of(path)))


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    yield
    tree_of.cache_clear()
    nodes_of.cache_clear()


@cache
def imported(path: Path, *, top_level_only: bool) -> frozenset[str]:
    """The modules that a file imports, by statement or from a string."""
    names: set[str] = set()
    for node in tree_of(path).body if top_level_only else nodes_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            names |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return frozenset(names)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def roots(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_no_module_of_ours_imports_a_heavy_library_at_its_top(repository: Path) -> None:
    files = sorted((repository / "harness").rglob("*.py"))
    assert len(files) > 100
    guilty = {str(f): roots(imported(f, top_level_only=True)) & HEAVY for f in files}
    assert not {f: names for f, names in guilty.items() if names}


@pytest.mark.parametrize("place", LIGHT)
def test_the_judging_world_imports_none_even_inside_functions(place: str, repository: Path) -> None:
    files = files_of(repository / "harness" / place)
    assert files, f"harness/{place} is gone; mend LIGHT"
    for file in files:
        names = imported(file, top_level_only=False)
        assert not roots(names) & HEAVY, file
        assert not {n for n in names if n.startswith("harness.measuring")}, file


def test_no_string_of_the_judging_world_is_code_that_imports_a_library(repository: Path) -> None:
    code = re.compile(rf"(^|\n|;)\s*(import|from) ({'|'.join(HEAVY)}|harness\.measuring)\b")
    for file in (f for place in LIGHT for f in files_of(repository / "harness" / place)):
        for node in nodes_of(file):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not code.search(node.value), f"{file}: {node.value[:80]}"


def contracts(repository: Path) -> list[dict[str, Any]]:
    raw = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = raw["tool"]["importlinter"]["contracts"]
    return listed


def packages(repository: Path) -> set[str]:
    """Every package and top-level module of ours, by dotted name; a package stands for its own."""
    root = repository / "harness"
    folders = {p.parent for p in root.rglob("__init__.py")} - {root}
    leaves = {f for f in folders if not any(f in other.parents for other in folders)}
    dotted = {".".join(p.relative_to(repository).parts) for p in leaves}
    alone = {p for f in folders - leaves for p in f.glob("*.py") if p.name != "__init__.py"}
    alone |= {p for p in root.glob("*.py") if p.name != "__init__.py"}
    return dotted | {".".join(p.relative_to(repository).with_suffix("").parts) for p in alone}


def test_every_module_is_covered_by_the_contracts_the_day_it_is_born(repository: Path) -> None:
    layers = [c for c in contracts(repository) if c["type"] == "layers"]
    named = {n.strip("() ") for c in layers for layer in c["layers"] for n in layer.split("|")}
    named = {n.strip() for n in named}

    def covered(module: str) -> bool:
        return any(module == n or module.startswith(f"{n}.") for n in named)

    assert not {m for m in packages(repository) if not covered(m)}
    # A contract that lists modules goes stale: it names packages and the four files at the top.
    top = {f"harness.{n}" for n in ("__main__", "cli", "pytest_plugin", "errors")}
    for name in named - top:
        assert (repository / Path(*name.split("."))).is_dir(), name


def test_the_forbidden_contract_covers_everything_but_the_measuring_world(
    repository: Path,
) -> None:
    (contract,) = (c for c in contracts(repository) if c["type"] == "forbidden")
    top = {f"harness.{p.stem}" for p in (repository / "harness").iterdir() if _is_module(p)}
    assert set(contract["source_modules"]) == top - {"harness.measuring"} - BOTH
    assert set(contract["forbidden_modules"]) == HEAVY | {"harness.measuring"}


def _is_module(path: Path) -> bool:
    is_package = (path / "__init__.py").is_file()
    return is_package or (path.suffix == ".py" and path.name != "__init__.py")


def test_nothing_imports_a_verb_but_by_its_name(repository: Path) -> None:
    """No verb imports another, nor does what they share: the arrows run down."""
    files = sorted((repository / "harness").rglob("*.py"))
    for file in (f for f in files if f.name != "__init__.py"):
        names = {n for n in imported(file, top_level_only=False) if "harness.commands." in n}
        shared = {"verb", "verbs"}
        assert all(n.split(".")[2].startswith("_") or n.split(".")[2] in shared for n in names), (
            file
        )


def test_no_circle_of_modules(repository: Path) -> None:
    """Not even one that is closed inside a function. A package that lists its folder imports no
    name of it."""
    root = repository / "harness"
    modules = {_dotted(file, repository): file for file in root.rglob("*.py")}
    arrows = {
        name: imported(file, top_level_only=False) & set(modules) - {name}
        for name, file in modules.items()
    }
    while free := [name for name, targets in arrows.items() if not targets]:
        # What imports nothing that is left is on no circle.
        arrows = {n: t - set(free) for n, t in arrows.items() if n not in free}
    assert not {name: sorted(targets) for name, targets in arrows.items()}


def _dotted(file: Path, repository: Path) -> str:
    parts = file.relative_to(repository).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Who may take the parsed words: the parser, an option's action, a verb's entry, what unpacks them.
UNPACKING = {"_parsed", "__call__", "execute", "spec_of", "request_of"}


def test_no_parsed_words_go_below_a_verb(repository: Path) -> None:
    """Each verb unpacks its arguments into a frozen spec; what it calls takes that."""
    taking = set()
    files = sorted((repository / "harness").rglob("*.py"))
    for file in (f for f in files if "Namespace" in f.read_text(encoding="utf-8")):
        for node in nodes_of(file):
            if isinstance(node, ast.FunctionDef) and "Namespace" in _signature(node):
                taking.add((file.relative_to(repository / "harness").as_posix(), node.name))
    assert taking
    places = {file for file, _ in taking}
    assert all(file == "cli.py" or file.startswith("commands/") for file in places), taking
    assert {name for _, name in taking} <= UNPACKING


def _signature(node: ast.FunctionDef) -> str:
    return f"{ast.unparse(node.args)} {node.returns and ast.unparse(node.returns)}"


def test_the_command_line_starts_without_them() -> None:
    code = (
        "import sys; from harness.commands import verb, verbs; [verb(name) for name in verbs()]; "
        f"print(sorted({HEAVY | {'numpy'}!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_verb_is_parsed_without_the_modules_of_the_others() -> None:
    code = (
        "import sys, harness.cli; harness.cli.build_parser(['train']); "
        "print(sorted(m for m in sys.modules if m.startswith('harness.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness.commands._arguments', 'harness.commands.train']"


# Names that say nothing of what they hold.
EMPTY = {"found", "held", "made", "said"}


@pytest.mark.parametrize("place", [*LIGHT, "measuring", "pytest_plugin.py", "../suites"])
def test_variables_are_called_by_what_they_hold(place: str, repository: Path) -> None:
    guilty = set()
    for file in files_of(repository / "harness" / place):
        nodes = nodes_of(file)
        # A declared field is named by the document that it is a part of.
        bodies = (part for node in nodes if isinstance(node, ast.ClassDef) for part in node.body)
        fields = {part.target for part in bodies if isinstance(part, ast.AnnAssign)}
        names = {node.arg for node in nodes if isinstance(node, ast.arg)}
        names |= {
            node.id
            for node in nodes
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in fields
        }
        guilty |= {(file.name, name) for name in names & EMPTY}
    assert not guilty


def test_no_module_is_long_and_none_is_called_utils(repository: Path) -> None:
    files = sorted((repository / "harness").rglob("*.py"))
    lengths = {str(f): len(f.read_text("utf-8").splitlines()) for f in files}
    long = {name: count for name, count in lengths.items() if count > 310}
    assert not long
    assert not [f for f in files if f.name == "utils.py"]


def test_nothing_but_the_known_rooms_stands_at_the_top(repository: Path) -> None:
    """What a training leaves in the working folder is no part of the project."""
    if not (repository / ".git").exists():
        pytest.skip("NOT_RUN: what belongs to the project is asked of git, and this is no clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True
    )
    names = {path.split("/")[0] for path in listed.stdout.split("\0") if path}
    rooms = {"harness", "suites", "golden", "reports", "tox.ini", "pyproject.toml"}
    assert {n for n in names if not n.startswith(".")} == rooms | {"README.md", "LICENSE"}
    assert {n for n in names if n.startswith(".")} <= {".ci", ".github", ".gitignore"}
