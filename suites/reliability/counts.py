"""How often each fault is planted: a few in CI, the table's counts by HARNESS_RELIABILITY=large."""

from __future__ import annotations

import os

import pytest

LARGE = os.environ.get("HARNESS_RELIABILITY") == "large"
# What takes minutes even once.
large = pytest.mark.skipif(not LARGE, reason="minutes long: HARNESS_RELIABILITY=large runs it")


def count(small: int, large: int) -> int:
    """The number of repetitions of a test."""
    return large if LARGE else small
