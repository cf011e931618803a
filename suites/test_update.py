"""Rung: update, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable

from harness.judging.goldens.judgement import Judgement
from harness.pytest_plugin import assert_no_unexpected


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("update"))
