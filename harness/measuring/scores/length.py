"""Length in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring.scores import measurement


def score(data: Sequence[str]) -> list[float]:
    """Words (runs of non-space) per text."""
    return [float(len(text.split())) for text in data]


def build(cache: str) -> Any:
    """The `evaluate.Measurement`."""
    return measurement("length", "words per description", score, cache)
