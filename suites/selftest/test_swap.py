"""Blaming packages against made-up stacks whose causes are known."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from harness.judging.bisect import blaming
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.blaming import blame_each
from harness.judging.bisect.question import Question
from harness.judging.bisect.search import Answer, EndError, Outcome
from harness.judging.bisect.swap import Blame, Packages, responsible, told_apart
from harness.judging.environments.overlay import Layer
from harness.records.record import Metric
from suites.selftest.bisections import LOSS
from suites.selftest.bisections import record as a_record

NAMES = ["torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "pillow", "numpy"]


class Stacks:
    """The difference shows where a whole cause was swapped; some sets cannot be installed."""

    def __init__(self, causes: list[set[str]], broken: list[set[str]] | None = None) -> None:
        self.causes, self.broken = causes, broken or []
        self.asked: list[Packages] = []

    def __call__(self, chosen: Packages) -> Outcome:
        assert chosen not in self.asked, "evaluated twice"
        self.asked.append(chosen)
        if any(chosen == frozenset(b) for b in self.broken):
            return Outcome(Answer.SKIP, "does not resolve")
        shown = any(cause <= chosen for cause in self.causes)
        return Outcome(Answer.BAD if shown else Answer.GOOD)


@pytest.mark.parametrize("name", NAMES)
def test_one_package(name: str) -> None:
    blame = responsible("x", NAMES, Stacks([{name}]))
    assert blame.causes == (frozenset({name}),)
    assert not blame.is_interaction


def test_two_packages_each_enough() -> None:
    blame = responsible("x", NAMES, Stacks([{"torch"}, {"peft"}]))
    assert set(blame.causes) == {frozenset({"torch"}), frozenset({"peft"})}


@pytest.mark.parametrize("both", list(combinations(NAMES, 2)))
def test_every_pair_of_packages_is_found_as_an_interaction(both: tuple[str, str]) -> None:
    stacks = Stacks([set(both)])
    blame = responsible("x", NAMES, stacks)
    assert blame.causes == (frozenset(both),)
    assert blame.is_interaction
    assert len(stacks.asked) < 40


def test_random_interactions_are_minimal() -> None:
    for seed in range(300):
        draw = random.Random(seed)
        cause = set(draw.sample(NAMES, k=draw.randint(1, 5)))
        (interaction,) = responsible("x", NAMES, Stacks([cause])).causes
        assert interaction == frozenset(cause)


def test_what_cannot_be_installed_is_neither_good_nor_bad_and_is_named() -> None:
    blame = responsible("x", NAMES, Stacks([{"torch", "trl"}], broken=[{"transformers"}]))
    assert blame.causes == (frozenset({"torch", "trl"}),)
    assert blame.undecided == {frozenset({"transformers"}): "does not resolve"}


@pytest.mark.parametrize(("causes", "position"), [([set()], 0), ([{"elsewhere"}], 1)])
def test_stacks_that_do_not_show_it(causes: list[set[str]], position: int) -> None:
    with pytest.raises(EndError) as error:
        responsible("x", NAMES, Stacks(causes))
    assert error.value.position == position


def blame(*singles: str) -> Blame:
    return Blame(tuple(frozenset({s}) for s in singles), {})


def test_of_two_that_move_only_together_the_one_that_requires_the_other_is_the_cause() -> None:
    drags = {"tokenizers": frozenset({"transformers"}), "transformers": frozenset({"tokenizers"})}
    requires = {"transformers": frozenset({"tokenizers", "numpy"}), "tokenizers": frozenset[str]()}
    told = told_apart(blame("tokenizers", "transformers"), drags, requires)
    assert told.causes == (frozenset({"transformers"}),)
    assert told.through == {"tokenizers": "transformers"}
    # Where neither requires the other, nothing tells them apart.
    told = told_apart(blame("tokenizers", "transformers"), drags, {})
    assert len(told.causes) == 2
    assert not told.through


def test_a_package_that_takes_a_cause_along_is_none_itself() -> None:
    told = told_apart(blame("trl", "transformers"), {"trl": frozenset({"transformers"})}, {})
    assert told.causes == (frozenset({"transformers"}),)
    assert told.through == {"trl": "transformers"}
    # What it takes along must be a cause, not only move.
    told = told_apart(blame("trl", "torch"), {"trl": frozenset({"transformers"})}, {})
    assert len(told.causes) == 2


def test_never_is_every_cause_explained_by_another() -> None:
    names = ("a", "b", "c", "d")
    draw = random.Random(5)
    for _ in range(300):
        drags, requires = (
            {n: frozenset(m for m in names if m != n and draw.random() < 0.4) for n in names}
            for _ in range(2)
        )
        assert told_apart(blame(*names), drags, requires).causes


class Dragging:
    """A base on which `above` asks for a newer `below`: `below` alone shows the difference."""

    python = Path("python")

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.kept = 0

    def keep(self, needed: Iterable[Measured]) -> None:
        assert not list(needed)
        self.kept += 1

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        assert tuple(asked) not in self.asked, "measured twice"
        self.asked.append(tuple(asked))
        names = {text.partition("==")[0] for text in asked}
        moved = {"below": "2"} if names == {"above"} else {}
        value = 2.0 if names & {"above", "below"} else 1.0
        layer = Layer("reference", tuple(asked), {}, moved, {})
        if names == {"gone"}:
            return Measured("x", None, {}, "gone==2 does not resolve: " + "so " * 60)
        metric = Metric("forward", "loss", value=value)
        return Measured("x", layer, {"forward": a_record(metric)})


SWAPPED = {"above": "2", "below": "2", "gone": "2", "other": "2"}


def test_a_package_that_takes_a_cause_along_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blaming, "requires", lambda python, package: frozenset())
    bench, lines = Dragging(), list[str]()
    blamed = blame_each([LOSS], SWAPPED, bench, lines.append, ("nothing", "everything"))  # type: ignore[arg-type]
    answer = blamed["forward.loss"]
    assert answer.causes == (("below",),)
    assert answer.through == {"above": "below"}
    assert not answer.interaction
    assert list(answer.undecided) == ["gone"]
    # Each once, and nothing is kept for later.
    assert bench.kept == len(bench.asked) == 2 + len(SWAPPED)
    assert lines[0] == "  nothing swapped: measured"
    assert lines[1] == "  above==2, below==2, gone==2, other==2 swapped: measured"
    (lost,) = (line for line in lines if line.startswith("  gone==2 "))
    assert lost.startswith("  gone==2 swapped: gone==2 does not resolve: so so")
    # What a resolver says may be a page: a line holds its beginning.
    assert len(lost) == len("  gone==2 swapped: ") + 120


def test_who_declares_the_other_is_the_cause_of_two_that_move_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Together(Dragging):
        def measure(self, asked: Sequence[str], again: str = "") -> Measured:
            measured = super().measure(asked, again)
            names = {text.partition("==")[0] for text in asked}
            other = {frozenset({"above"}): "below", frozenset({"below"}): "above"}
            moved = other.get(frozenset(names))
            if measured.layer is None or moved is None:
                return measured
            return replace(measured, layer=replace(measured.layer, moved={moved: "2"}))

    asks = {"above": frozenset({"below"})}
    monkeypatch.setattr(blaming, "requires", lambda python, name: asks.get(name, frozenset()))
    blamed = blame_each([LOSS], SWAPPED, Together(), lambda line: None, ("a", "b"))  # type: ignore[arg-type]
    assert blamed["forward.loss"].causes == (("above",),)
    assert blamed["forward.loss"].through == {"below": "above"}


def test_a_difference_of_something_else_is_said_to_be_none_of_the_packages() -> None:
    class Elsewhere(Dragging):
        def measure(self, asked: Sequence[str], again: str = "") -> Measured:
            layer = Layer("reference", tuple(asked), {}, {}, {})
            value = 2.0 if len(asked) == 2 else 1.0
            return Measured(
                "x", layer, {"forward": a_record(Metric("forward", "loss", value=value))}
            )

    blamed = blame_each([LOSS], SWAPPED, Elsewhere(), lambda line: None, ("a", "b"))  # type: ignore[arg-type]
    assert "comes from something else" in blamed["forward.loss"].problem
    assert blamed["forward.loss"].is_open
    gone = blame_each(
        [Question("forward.los")],
        SWAPPED,
        Elsewhere(),
        lambda line: None,
        ("a", "b"),  # type: ignore[arg-type]
    )
    problem = gone["forward.los"].problem
    assert problem.startswith("cannot be bisected: There is no forward.los; near it")
    assert not problem.endswith(".")
