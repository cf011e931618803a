"""Paired bootstrap over products (Efron 1979): an interval for a mean difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 4000
# Fewer values have no spread.
LEAST = 2


@dataclass(frozen=True)
class Interval:
    """Mean difference and its 95 % percentile interval."""

    mean: float
    low: float
    high: float


def paired(new: Sequence[float], old: Sequence[float], seed: int = 42) -> Interval:
    """The interval of mean(new − old), products resampled with replacement.

    Raises ValueError where the two don't pair up or there are fewer than two products.
    """
    if len(new) != len(old) or len(new) < LEAST:
        raise ValueError(f"cannot pair {len(new)} with {len(old)} values")
    import numpy as np

    difference = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, len(difference), (RESAMPLES, len(difference)))
    means = difference[chosen].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(difference.mean()), float(low), float(high))
