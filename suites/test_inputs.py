"""Rung: inputs, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.judging.goldens.judgement import Judgement
from harness.measuring.probes._batches import batch
from harness.pytest_plugin import assert_no_unexpected
from harness.records.context import Context
from harness.records.record import Record
from suites.oracles import mrope


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("inputs"))


def test_the_definition_by_hand() -> None:
    """Two words, a picture of 2×3 merged tokens, two words: text goes on one past the largest."""
    time, height, width = mrope.positions([7, 7, 9, 9, 9, 9, 9, 9, 7, 7], 9, [(1, 2, 3)])
    assert time == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert height == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert width == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_generation_always_has_m_rope(record_of: Callable[[str], Record], context: Context) -> None:
    """Whatever the training forward does, the prefill's rows have three different axes."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    metric = record_of("inputs").find("prefill_positions", "left")
    assert isinstance(metric.value, list)
    for row in metric.value:
        time, height, width = str(row).split(" | ")
        assert len({time, height, width}) == 3


def test_pixels_cast_to_bytes_are_what_they_then_are(
    record_of: Callable[[str], Record], context: Context
) -> None:
    """4-bit weights are held as bytes; a tower that casts its pixels to its weights' dtype cuts
    them to 0, 1, 2 and, below -1, 255. Either nothing changes or exactly that happens."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    metric = record_of("inputs").find("patch_gap", "four_bit")
    pixels = batch(context, "right")["pixel_values"].cpu().numpy().astype(np.float64)
    cut = np.trunc(pixels) % 256
    worst = float(np.abs(pixels - cut).max())
    assert worst > 256
    assert metric.value == 0.0 or abs(float(str(metric.value)) - worst) < 1e-4
