"""Cells that wait: how many environments are there at once, so that every worker has a cell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.judging.matrix.work import Work
from suites.selftest.cells import cell

CELLS_A_STACK, STACKS = 5, 12


@contextmanager
def of_twelve_stacks(most: int) -> Iterator[tuple[Work, list[str]]]:
    """Twelve stacks of five cells, and which of them were built."""
    built: list[str] = []

    def build(text: str) -> Path:
        built.append(text)
        return Path(text)

    cells = [
        cell(f"s{stack}", f"tiny:m{number}")
        for stack in range(STACKS)
        for number in range(CELLS_A_STACK)
    ]
    with Work(cells, most, build) as work:
        yield work, built


def settled(built: list[str]) -> int:
    """How many were built once no more are; a build takes no time here."""
    count = -1
    while count != len(built):
        count = len(built)
        time.sleep(0.2)
    return count


@pytest.mark.parametrize(
    ("most", "stacks"),
    [
        (2, 2),  # one is measured with while the next is built
        (10, 2),
        (11, 3),  # a third has what the two lack
        (40, 8),
        (1000, STACKS),
    ],
)
def test_as_many_environments_are_there_as_the_workers_have_use_for(most: int, stacks: int) -> None:
    with of_twelve_stacks(most) as (_, built):
        assert settled(built) == stacks


def test_the_next_is_built_as_soon_as_too_few_cells_are_left() -> None:
    with of_twelve_stacks(10) as (work, built):
        assert settled(built) == 2
        taken = work.take()
        assert taken is not None
        work.done(taken)
        assert settled(built) == 3
