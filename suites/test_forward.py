"""Rung: forward, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable

from harness.judging.goldens.judgement import Judgement
from harness.pytest_plugin import assert_no_unexpected
from harness.records.record import Record


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("forward"))


def test_loss_shares_sum_to_one(record_of: Callable[[str], Record]) -> None:
    shares = [m.value for m in record_of("forward").metrics if m.name == "loss_share"]
    assert abs(sum(float(s) for s in shares) - 1) < 1e-5 or not shares  # type: ignore[arg-type]
