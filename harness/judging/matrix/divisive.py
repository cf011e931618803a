"""Where a noisy series changes: E-divisive with means of distances, as published.

D. S. Matteson and N. A. James, A Nonparametric Approach for Multiple Change Point Analysis of
Multivariate Data, JASA 109 (2014), 334-345: the split that is farthest apart by energy distance, by
a permutation test, then the same within the parts, until no split is significant. Nothing is
assumed of how values are distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

# The distance |x - y| ** ALPHA; 1 as in the paper's examples.
ALPHA = 1.0
# A split is significant where fewer than one of twenty shuffled series has one as good.
LEVEL, SHUFFLES, SEED = 0.05, 199, 0
# A part needs a distance inside itself.
LEAST = 2


def changes(groups: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """The groups, by number, at which values change; within one, as of one release, nothing does.

    Raises ValueError for a group without a value.
    """
    import numpy as np

    if not all(groups):
        raise ValueError("a group has no value")
    if len(groups) < 2:
        return ()
    values = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups])
    edges = np.cumsum([0, *map(len, groups)])
    dice = np.random.default_rng(SEED)
    cuts: list[int] = []
    while True:
        parts = [0, *sorted(cuts), len(groups)]
        splits = _splits(edges, parts)
        best, cut = _best(values, splits)
        if cut is None or best <= 0:
            break
        as_good = 1
        for _ in range(SHUFFLES):
            shuffled = values.copy()
            for start, end in pairwise(parts):
                dice.shuffle(shuffled[edges[start] : edges[end]])
            as_good += _best(shuffled, splits)[0] >= best
        if as_good / (SHUFFLES + 1) > LEVEL:
            break
        cuts.append(cut)
    return tuple(sorted(cuts))


def _splits(edges: Any, parts: Sequence[int]) -> Any:
    """Every split of every part, int64 (4, splits): the group that begins its second half, and the
    values where the first half begins, the second begins and ends. The same for shuffled values."""
    import numpy as np

    splits = [
        (cut, edges[start], edges[cut], edges[last])
        for start, end in pairwise(parts)
        for cut in range(start + 1, end)
        for last in range(cut + 1, end + 1)
        if min(edges[cut] - edges[start], edges[last] - edges[cut]) >= LEAST
    ]
    return np.array(splits, dtype=np.int64).reshape(-1, 4).T


def _best(values: Any, splits: Any) -> tuple[float, int | None]:
    """The largest scaled energy distance of these splits, and the first that has it; 0 and None
    where none is above 0."""
    import numpy as np

    cuts, a, b, c = splits
    distances = np.abs(values[:, None] - values[None, :]) ** ALPHA
    sums = np.zeros((len(values) + 1, len(values) + 1))
    sums[1:, 1:] = distances.cumsum(axis=0).cumsum(axis=1)
    apart = scaled(sums, a, b, c)
    above = np.where(apart > 0, apart, 0.0)  # what is no number is no split
    if not above.any():
        return 0.0, None
    place = int(above.argmax())
    return float(above[place]), int(cuts[place])


def scaled(sums: Any, a: Any, b: Any, c: Any) -> Any:
    """The scaled energy distance between values a…b-1 and b…c-1, of one split or of an array of
    them. sums: of the distances, over all rows and columns before an index."""
    m, n = b - a, c - b
    across = sums[b, c] - sums[a, c] - sums[b, b] + sums[a, b]
    first = sums[b, b] - sums[a, b] - sums[b, a] + sums[a, a]
    second = sums[c, c] - sums[b, c] - sums[c, b] + sums[b, b]
    energy = 2 * across / (m * n) - first / (m * (m - 1)) - second / (n * (n - 1))
    return energy * m * n / (m + n)
