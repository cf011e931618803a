"""A lane's order of measurements, its ratio, its counted work and its batches."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest

from harness.errors import BadInput
from harness.measuring.instruments.work import Lengths, lengths_of
from harness.measuring.lane import __main__ as command
from harness.measuring.lane.work import work
from harness.measuring.lane.workload import batches
from harness.measuring.models import qwen2_vl
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.ways import VARIANTS, variant
from harness.records.statistics import abba, ratio
from suites.oracles import flops as oracle
from suites.oracles import footprint as shapes


def test_abba_alternates_and_balances() -> None:
    assert "".join(abba(4)) == "ABBAABBA"
    # A drift that grows with every step hits both sides alike.
    order = abba(20)
    places = {side: [i for i, s in enumerate(order) if s == side] for side in "AB"}
    assert sum(places["A"]) == sum(places["B"])


def exact_interval(values: list[float]) -> tuple[float, float]:
    """The percentile interval of the bootstrapped median of an odd number of distinct values.

    The median of n draws is at most the k-th value where at least (n + 1) / 2 draws are: a
    binomial tail, so no drawing is needed.
    """
    n = len(values)
    ordered = sorted(values)

    def at_most(k: int) -> float:
        p = k / n
        need = range((n + 1) // 2, n + 1)
        return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in need)

    low = next(k for k in range(1, n + 1) if at_most(k) >= 0.025)
    high = next(k for k in range(1, n + 1) if at_most(k) >= 0.975)
    return ordered[low - 1], ordered[high - 1]


def test_the_ratio_and_its_interval_are_an_independent_calculation() -> None:
    drawn = random.Random(1)
    before = [1 + 0.01 * i for i in range(21)]
    after = [t * 0.5 * math.exp(drawn.gauss(0, 0.05)) for t in before]
    logs = [math.log(b / a) for a, b in zip(before, after, strict=True)]
    result = ratio(before, after)
    assert result.median == pytest.approx(math.exp(statistics.median(logs)))
    low, high = exact_interval(logs)
    assert (result.low, result.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert result.low < 0.5 < result.high
    assert result.pairs == 21
    with pytest.raises(ValueError, match="no pairs"):
        ratio([1.0], [])


def lengths(size: int, length: int, trained: int, side: int) -> Lengths:
    return Lengths(size, length, size * length - 7, size * trained, (side * side,) * size)


@pytest.mark.parametrize(
    ("name", "per_token", "head_everywhere", "vision"),
    [
        ("recipe", 5.41732, True, True),
        ("no_checkpointing", 4.0, True, True),
        ("half_checkpointing", 4.70866, True, True),
        ("selected_logits", 5.41732, False, True),
        ("cached_vision", 5.41732, True, False),
        ("fastest", 4.0, False, False),
    ],
)
def test_work_is_the_limits_formulas(
    name: str, per_token: float, head_everywhere: bool, vision: bool, seven_b: Any
) -> None:
    # 4 P a token, 5.42 P with non-reentrant checkpointing, P and the head as counted by hand.
    linears, head = 6_525_288_448, 544_997_376
    sizes = lengths(4, 800, 150, 52)
    padded, trained = 3200, 600
    amounts = work(seven_b, sizes, VARIANTS[name])
    tower = oracle.vision_forward(shapes.SEVEN_B, sizes.patches) if vision else 0
    recomputed = VARIANTS[name].checkpointing
    attention = 28 * 4 * padded * 800 * 3584 * (3.5 + recomputed)
    heads = 4 * head * (padded if head_everywhere else trained)
    wanted = per_token * linears * padded + heads + attention + tower
    assert amounts.executed == pytest.approx(wanted, rel=1e-4)
    assert amounts.useful == oracle.useful(shapes.SEVEN_B, padded - 7, trained, sizes.patches) - (
        0 if vision else oracle.vision_forward(shapes.SEVEN_B, sizes.patches)
    )
    assert amounts.useful < amounts.executed


def test_batches_are_about_as_long_as_asked() -> None:
    drawn = batches(STAND_IN, 400, count=2, size=2)
    assert len(drawn) == 2
    for one in drawn:
        sizes = lengths_of(one, qwen2_vl)
        assert sizes.tokens / sizes.batch == pytest.approx(400, rel=0.1)


def test_unknown_names_are_refused_with_the_choice() -> None:
    with pytest.raises(BadInput, match=r"no variant 'fast'; choose from recipe, .*fastest"):
        variant("fast")
    with pytest.raises(BadInput, match="no case 'fast'"):
        command._case("fast@800")
    with pytest.raises(BadInput, match="is no number of tokens"):
        command._case("fastest@many")
