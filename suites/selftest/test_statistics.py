"""Intervals that a few draws make: small enough to be counted by hand."""

from __future__ import annotations

import pytest

from harness.records.bootstrap import Interval, paired
from harness.records.statistics import Ratio, abba, ratio


def test_two_draws_of_two_differences() -> None:
    """Differences 0 and 1: their mean is 0 in a quarter of all draws, 1 in another."""
    assert paired([1.0, 3.0], [1.0, 2.0]) == Interval(0.5, 0.0, 1.0)
    # Equal differences have no spread, and the sign is of new less old.
    assert paired([1.0, 2.0, 3.0], [3.0, 4.0, 5.0]) == Interval(-2.0, -2.0, -2.0)


@pytest.mark.parametrize(("count", "most"), [(48, 31), (20, 14)])
def test_the_interval_leaves_one_in_forty_on_either_side(count: int, most: int) -> None:
    """Half of the differences are ones, so that a draw's ones are binomial: of 48 at most 30 in
    97.0 % of the draws and 31 in 98.4, of 20 at most 14 in 97.9. The lower end mirrors it."""
    ones = paired([1.0, 0.0] * (count // 2), [0.0] * count)
    assert ones == Interval(0.5, (count - most) / count, most / count)


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0], "cannot pair 3 with 2"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], "cannot pair 2 with 3"),
        ([1.0], [1.0], "cannot pair 1 with 1"),
    ],
)
def test_what_does_not_pair_is_refused(new: list[float], old: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        paired(new, old)


def test_two_draws_of_two_ratios() -> None:
    """Ratios 1 and 4: the median of two draws is 1, 2 or 4, once, twice, once in four."""
    of_two = ratio([1.0, 1.0], [1.0, 4.0])
    assert (of_two.median, of_two.low, of_two.high) == pytest.approx((2.0, 1.0, 4.0), rel=1e-12)
    assert of_two.pairs == 2
    # b over a, and equal ratios have no spread.
    one = ratio([2.0], [6.0])
    assert (one.median, one.low, one.high) == pytest.approx((3.0, 3.0, 3.0), rel=1e-12)
    assert ratio([5.0, 7.0], [5.0, 7.0]) == Ratio(1.0, 1.0, 1.0, 2)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_times_that_are_no_pairs_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(a)} and {len(b)} samples make no pairs"):
        ratio(a, b)


def test_a_drift_hits_both_sides_alike() -> None:
    assert "".join(abba(3)) == "ABBAAB"


def test_the_ratios_interval_leaves_one_in_forty_on_either_side() -> None:
    """Of nine pairs two are ratios of 1: their median is one in 3.0 % of all draws (a binomial of
    nine at 2/9, five or more), which is more than one in forty and less than one in twenty."""
    of_nine = ratio([1.0] * 9, [1.0] * 2 + [4.0] * 7)
    assert (of_nine.low, of_nine.high) == pytest.approx((1.0, 4.0), rel=1e-12)
    assert (ratio([4.0] * 9, [4.0] * 2 + [1.0] * 7)).high == pytest.approx(1.0, rel=1e-12)
