"""Ratios of interleaved pairs, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Ratio:
    """Median of b/a over pairs with its bootstrap interval (percentiles, 95 %)."""

    median: float
    low: float
    high: float
    pairs: int


def ratio(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Ratio:
    """Median ratio of paired times. Raises ValueError on unequal or empty samples."""
    if len(a) != len(b) or not a:
        raise ValueError(f"{len(a)} and {len(b)} samples make no pairs")
    import numpy as np

    logs = np.log(np.asarray(b, dtype=np.float64)) - np.log(np.asarray(a, dtype=np.float64))
    drawn = np.random.default_rng(seed).integers(0, len(logs), (RESAMPLES, len(logs)))
    medians = np.median(logs[drawn], axis=1)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(float(np.exp(np.median(logs))), float(np.exp(low)), float(np.exp(high)), len(logs))


def abba(pairs: int) -> list[str]:
    """Order of 2 x pairs steps: A B B A A B B A …, so that a drift hits both alike."""
    return [letter for i in range(pairs) for letter in ("AB" if i % 2 == 0 else "BA")]
