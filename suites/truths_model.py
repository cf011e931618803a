"""Truths of rungs 6 and above: arithmetic, and what the reference configurations count to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.judging.goldens.golden import Golden
from suites.truths_cost import cost_truths
from suites.truths_footprint import footprint_truths


def model_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung by rung."""
    yield from footprint_truths(truth)
    yield from cost_truths(truth)
