"""Mutants of the libraries: the operators do what they say, a draw can be repeated, and what is
planted into a fork stays there."""

from __future__ import annotations

import ast
import itertools
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.record import RUNGS
from suites.mutants import children, frame, planting
from suites.mutants.frame import Frame, Mutant, traced
from suites.mutants.operators import MOST_SHOWN, OPERATORS, Edited, edits, shown
from suites.mutants.stages import STAGES
from suites.mutation.swapped import alive

SECONDS = 20.0


def changed(body: str, operator: str) -> set[str]:
    """The bodies of a function `f(a, b)` that an operator makes of one, as Python writes them."""
    source = f"def f(a, b):\n    {body}\n".encode()
    edited = [e for e in edits(source) if e.operator == operator]
    trees = [ast.parse(edit.applied(source)) for edit in edited]
    return {ast.unparse(tree.body[0].body) for tree in trees}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("operator", "body", "expected"),
    [
        ("comparison", "return a < b", {"return a <= b", "return a >= b"}),
        ("comparison", "return a is None", {"return a is not None"}),
        ("comparison", "return a not in b", {"return a in b"}),
        ("number", "a = 3", {"a = 4", "a = 2", "a = 6", "a = None"}),
        ("number", "a = -1", {"a = -2", "a = -0", "a = -None"}),
        ("truth", "a = True", {"a = False", "a = None"}),
        ("truth", "a = None", {"a = True", "a = False"}),
        ("arithmetic", "return a + b * a", {"return a - b * a", "return a + b / a"}),
        ("arithmetic", "a //= b", {"a *= b"}),
        ("sign", "return not a", {"return a"}),
        ("sign", "return -a", {"return a"}),
        ("logic", "return a and b", {"return a or b", "return a", "return b"}),
        ("negated", "return 1 if a else 2", {"return 1 if not a else 2"}),
        ("negated", "return [x for x in a if x]", {"return [x for x in a if not x]"}),
        ("keyword dropped", "a(b, c=1, **b)", {"a(b, **b)"}),
        ("argument for call", "return a.norm(b)", {"return b"}),
        ("argument for call", "return a.detach()", {"return a"}),
        ("argument for call", "return a(*b)", set()),
        ("statement dropped", "a.b = 1", {"pass"}),
        ("statement dropped", "c = 1", set()),
        ("statement dropped", "a(b)", {"pass"}),
        ("slice bound", "return a[b:]", {"return a[b + 1:]", "return a[b:-1]"}),
        ("slice bound", "return a[:, 1:2]", {"return a[1:, 1:2]", "return a[:-1, 1:2]"}),
        ("no iteration", "for c in a: b(c)", {"for c in ():\n    b(c)"}),
        ("built-in exchanged", "return max(a, b)", {"return min(a, b)"}),
    ],
)
def test_an_operator_does_what_it_says(operator: str, body: str, expected: set[str]) -> None:
    assert changed(body, operator) == expected


def test_every_operator_is_tried() -> None:
    marks = test_an_operator_does_what_it_says.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for mark in marks for case in mark.args[1]} == set(OPERATORS)


def test_nothing_but_bodies_is_changed() -> None:
    source = b'''
N = 1 + 1

@cache(maxsize=1)
def f(a: int = 1, *, b=True) -> dict[str, 1]:
    """A text of 1."""
    c: Literal[1] = "1" + f"{a + 1}"
    return c

class C:
    n = 3
'''
    assert [(e.operator, e.line) for e in edits(source)] == [("arithmetic", 7)]


def test_no_line_moves_and_letters_beyond_ascii_are_counted_as_bytes() -> None:
    source = (
        "def f(a):\n    ä = 'é'; a(\n        b=1,\n        c=2,\n    )\n    return a + 1\n".encode()
    )
    edited = list(edits(source))
    assert edited
    for edit in edited:
        text = edit.applied(source).decode()
        assert ast.parse(text)
        assert text.count("\n") == source.decode().count("\n")
    dropped = next(e for e in edited if e.operator == "keyword dropped")
    assert shown(dropped, source) == ("ä = 'é'; a( b=1, c=2, )", "ä = 'é'; (a(c=2, ) )")


def test_long_lines_are_cut_around_what_changes() -> None:
    source = f"def f(a):\n    return {'a + ' * 60}1 + {'a + ' * 60}a\n".encode()
    edited = [shown(edit, source) for edit in edits(source)]
    assert all(len(text) <= MOST_SHOWN for pair in edited for text in pair)
    assert all(before != after for before, after in edited)


LIBRARY = """
def adding(a, b):
    total = a + b
    if total < 0:
        total = 0
    return total

def counter(step):
    def count(n):
        return n + step
    return count

class Held:
    times = [lambda n: n * 3, lambda n: n * 4]

    def twice(self, n):
        return n * 2

by_two = counter(2)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "small.py").write_text(LIBRARY)
    return tmp_path


@pytest.fixture
def small(site: Path) -> types.ModuleType:
    """The library, imported."""
    path = site / "peft" / "small.py"
    module = types.ModuleType("small")
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


def mutant(site: Path, function: str, operator: str, variant: int = 0) -> Mutant:
    source = (site / "peft" / "small.py").read_bytes()
    matching = [e for e in edits(source) if (e.function, e.operator) == (function, operator)]
    return Mutant("peft/small.py", next(e for e in matching if e.variant == variant), frame.WORK)


def in_a_fork(work: Callable[[], object], folder: Path) -> tuple[str, str]:
    """(error, what the work returned)."""
    error = children.forked(lambda: Path("made.txt").write_text(str(work())), folder, SECONDS)
    return error, (folder / "made.txt").read_text()


@pytest.mark.parametrize(
    ("function", "operator", "use", "right", "wrong"),
    [
        ("adding", "arithmetic", lambda m: m.adding(5, 3), "8", "2"),
        ("Held.twice", "arithmetic", lambda m: m.Held().twice(4), "8", "2.0"),
        # A function that another made when the library was imported, and one that it makes now.
        ("counter.<locals>.count", "arithmetic", lambda m: m.by_two(5), "7", "3"),
        ("counter.<locals>.count", "arithmetic", lambda m: m.counter(1)(5), "6", "4"),
    ],
)
def test_a_planted_mutant_acts_in_its_fork_alone(
    site: Path,
    small: types.ModuleType,
    tmp_path: Path,
    function: str,
    operator: str,
    use: Callable[[types.ModuleType], object],
    right: str,
    wrong: str,
) -> None:
    before = (site / "peft" / "small.py").read_bytes()
    functions, one = alive(), mutant(site, function, operator)

    def work() -> object:
        assert planting.plant(one, site, functions) >= 1
        return use(small)

    assert str(use(small)) == right
    assert in_a_fork(work, tmp_path / "fork") == ("", wrong)
    assert str(use(small)) == right
    assert (site / "peft" / "small.py").read_bytes() == before


def test_what_cannot_be_told_apart_or_reached_is_not_planted(
    site: Path, small: types.ModuleType
) -> None:
    source = (site / "peft" / "small.py").read_bytes()
    other = source.replace(b"n * 4", b"n * 5")
    with pytest.raises(planting.NotPlantable, match="two functions"):
        planting.changed_code("small.py", source, other)
    one = mutant(site, "adding", "arithmetic")
    with pytest.raises(planting.NotPlantable, match="no function that is alive"):
        planting.plant(one, site, {})
    wrong = Mutant(one.file, replace(one.edit, text="a +"), "")
    with pytest.raises(planting.NotPlantable, match="no Python"):
        planting.plant(wrong, site, alive())
    # Without `step` the inner function has no variable around it.
    with pytest.raises(planting.NotPlantable, match="free vars"):
        planting.plant(mutant_of_text(site, "n + step", "n"), site, alive())
    assert small.by_two(5) == 7


def mutant_of_text(site: Path, old: str, new: str) -> Mutant:
    start = (site / "peft" / "small.py").read_bytes().index(old.encode())
    return Mutant("peft/small.py", Edited("", 0, 0, "", 0, start, start + len(old), new), "")


def test_how_a_fork_ended_is_told(tmp_path: Path) -> None:
    def fails() -> None:
        raise ValueError("told\nin two lines")

    def sleeps() -> None:
        time.sleep(60)

    assert children.forked(lambda: None, tmp_path / "well", SECONDS) == ""
    assert children.forked(fails, tmp_path / "failed", SECONDS).startswith("in two lines")
    assert "ValueError: told" in (tmp_path / "failed" / "error.txt").read_text()
    assert children.forked(sleeps, tmp_path / "slow", 0.3) == children.HUNG
    assert children.forked(lambda: time.sleep(0.2) or exit(), tmp_path / "left", SECONDS)


def test_only_lines_that_ran_inside_functions_are_drawn_from(
    site: Path, small: types.ModuleType
) -> None:
    now = [frame.SET_UP]

    def run() -> None:
        small.adding(1, 2)
        now[0] = frame.WORK
        small.by_two(1)
        small.adding(-2, 1)
        now[0] = frame.SET_UP
        small.counter(1)

    lines = traced(site, run, lambda: now[0])
    assert lines == {
        frame.WORK: {"peft/small.py": [3, 4, 5, 6, 10]},
        frame.SET_UP: {"peft/small.py": [9, 11]},
    }
    # Nothing can be changed of the lines that make a function and return it.
    assert Frame(site, lines).sizes()[frame.SET_UP]["peft"]["mutants"] == 0
    lines[frame.WORK]["peft/small.py"].remove(5)
    population = Frame(site, lines)
    sizes = population.sizes()[frame.WORK]["peft"]
    assert sizes == {
        "files": 1,
        "functions": 2,
        "lines": 4,
        "lines_with_mutants": 3,
        # a + b; < twice, not, 0 in four ways; n + step.
        "mutants": 1 + 2 + 1 + 4 + 1,
    }
    drawn = [m.name for m in itertools.islice(population.draws(1), 9)]
    assert drawn == [m.name for m in itertools.islice(Frame(site, lines).draws(1), 9)]
    assert len(set(drawn)) == 9
    assert drawn != [m.name for m in itertools.islice(population.draws(2), 9)]
    assert next(population.draws(1, drawn[:8])).name == drawn[8]


def test_every_library_has_its_share() -> None:
    assert set(frame.SHARES) == set(frame.LIBRARIES)
    assert sum(frame.SHARES.values()) == sum(frame.PHASES.values()) == 100
    assert frame.library_of("torch/optim/adam.py") == "torch"
    assert frame.library_of("torch/_tensor.py") == ""


def test_every_stage_has_a_rung_and_they_come_in_its_order() -> None:
    numbers = [RUNGS.index(rung) for rung in STAGES.values()]
    assert numbers == sorted(numbers)
