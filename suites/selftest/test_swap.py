"""Blaming packages against made-up stacks whose causes are known."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from harness.judging.bisect.search import Answer, EndError, Outcome
from harness.judging.bisect.swap import Blame, Packages, responsible, told_apart

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
