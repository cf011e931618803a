"""Deciding a noisy metric: interleaved pairs against the good end, with a stated confidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.bisect import Answer, Outcome

# Pairs of runs per release, in the order A B B A …, so that a drift hits both alike.
PAIRS = 6
LEVEL = 0.95
# Without --band: a smaller change of a time is not worth a release's name.
BAND = 0.05
RESAMPLES = 10_000


def order(pairs: int = PAIRS) -> str:
    """`A` the good end, `B` the release: ABBA ABBA …"""
    return "".join("AB" if i % 2 == 0 else "BA" for i in range(pairs))


def decide(good: Sequence[float], here: Sequence[float], band: float = BAND) -> Outcome:
    """BAD where the interval of the median ratio lies outside 1 ± band, GOOD where inside.

    The interval is the 95 % percentile bootstrap over pairs. Where it holds an edge of the band,
    the release is not decided: SKIP. Raises ValueError on unequal, empty or non-positive samples.
    """
    if len(good) != len(here) or not good:
        raise ValueError(f"{len(good)} and {len(here)} samples make no pairs")
    if min(*good, *here) <= 0:
        raise ValueError("a ratio needs positive samples")
    logs = np.log(np.asarray(here, dtype=np.float64) / np.asarray(good, dtype=np.float64))
    drawn = np.random.default_rng(0).integers(0, len(logs), (RESAMPLES, len(logs)))
    medians = np.exp(np.median(logs[drawn], axis=1))
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shown = (
        f"ratio {float(np.exp(np.median(logs))):.3f} ({low:.3f} to {high:.3f} at {LEVEL:.0%}, "
        f"{len(logs)} pairs)"
    )
    if low > 1 + band or high < 1 - band:
        return Outcome(Answer.BAD, shown)
    if low >= 1 - band and high <= 1 + band:
        return Outcome(Answer.GOOD, shown)
    return Outcome(Answer.SKIP, f"not decided: {shown}")
