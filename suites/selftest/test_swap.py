"""Blaming packages against made-up stacks whose causes are known."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from harness.bisect import Answer, EndError, Outcome
from harness.swap import Packages, responsible

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
        (found,) = responsible("x", NAMES, Stacks([cause])).causes
        assert found == frozenset(cause)


def test_what_cannot_be_installed_is_neither_good_nor_bad_and_is_named() -> None:
    blame = responsible("x", NAMES, Stacks([{"torch", "trl"}], broken=[{"transformers"}]))
    assert blame.causes == (frozenset({"torch", "trl"}),)
    assert blame.undecided == {frozenset({"transformers"}): "does not resolve"}


@pytest.mark.parametrize(("causes", "position"), [([set()], 0), ([{"elsewhere"}], 1)])
def test_stacks_that_do_not_show_it(causes: list[set[str]], position: int) -> None:
    with pytest.raises(EndError) as error:
        responsible("x", NAMES, Stacks(causes))
    assert error.value.position == position
