"""Deciding a noisy metric: interleaved pairs against the good end, with a stated confidence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.judging.bisect.search import Answer, Outcome

# Pairs of runs per release, in the order A B B A …, so that a drift hits both alike. Where the
# first leave it open more are taken, for one run that was held up would leave a release undecided.
# Two looks at 97.5 % hold 95 % together (Bonferroni).
LOOKS = (8, 14)
LEVEL = 0.975
# Without --band: a smaller change of a time is not worth a release's name.
BAND = 0.05


def order(pairs: int = LOOKS[-1]) -> str:
    """`A` the good end, `B` the release: ABBA ABBA …"""
    return "".join("AB" if i % 2 == 0 else "BA" for i in range(pairs))


def certainty(pairs: int, cut: int) -> float:
    """How surely the median lies between the samples left after `cut` are taken off each end.

    Exact for any distribution: each pair lies above the median with probability 1/2
    (David and Nagaraja, Order Statistics, 3rd ed., 7.1).
    """
    return 1 - 2 * sum(math.comb(pairs, i) for i in range(cut + 1)) / 2**pairs


def decide(good: Sequence[float], here: Sequence[float], band: float = BAND) -> Outcome:
    """BAD where the interval of the median ratio lies outside 1 ± band, GOOD where inside.

    The interval is between two of the ratios, the closest that hold the median with LEVEL or more.
    Where it holds an edge of the band, the release is not decided: SKIP. Raises ValueError on
    unequal, too few (fewer than seven) or non-positive samples.
    """
    if len(good) != len(here):
        raise ValueError(f"{len(good)} and {len(here)} samples make no pairs")
    if certainty(len(good), 0) < LEVEL:
        raise ValueError(f"{len(good)} pairs are too few for {LEVEL:.0%}")
    if min(*good, *here) <= 0:
        raise ValueError("a ratio needs positive samples")
    ratios = sorted(b / a for a, b in zip(good, here, strict=True))
    cut = max(c for c in range(len(ratios) // 2) if certainty(len(ratios), c) >= LEVEL)
    low, high = ratios[cut], ratios[-1 - cut]
    shown = (
        f"ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f} at "
        f"{certainty(len(ratios), cut):.1%}, {len(ratios)} pairs)"
    )
    if low > 1 + band or high < 1 - band:
        return Outcome(Answer.BAD, shown)
    if low >= 1 - band and high <= 1 + band:
        return Outcome(Answer.GOOD, shown)
    return Outcome(Answer.SKIP, f"not decided: {shown}")
