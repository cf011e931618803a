"""Rung: inputs, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable

from harness.judgement import Judgement
from harness.pytest_plugin import assert_no_unexpected
from harness.record import Record
from suites.oracles import mrope


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("inputs"))


def test_the_definition_by_hand() -> None:
    """Two words, a picture of 2×3 merged tokens, two words: text goes on one past the largest."""
    time, height, width = mrope.positions([7, 7, 9, 9, 9, 9, 9, 9, 7, 7], 9, [(1, 2, 3)])
    assert time == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert height == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert width == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_generation_always_has_m_rope(record_of: Callable[[str], Record]) -> None:
    """Whatever the training forward does, the prefill's rows have three different axes."""
    metric = record_of("inputs").find("prefill_positions", "left")
    if metric.status.value == "NOT_RUN":
        assert metric.reason
        return
    assert isinstance(metric.value, list)
    for row in metric.value:
        time, height, width = str(row).split(" | ")
        assert len({time, height, width}) == 3
