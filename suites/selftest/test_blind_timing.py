"""The committed blind tests of timing, judged again from their raw pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest

from suites.blind_timing import CLOCKS, TRIALS, read, tally

KEY, TIMES = read()


def test_what_was_planted_was_drawn_from_the_seed() -> None:
    planted = [True] * TRIALS + [False] * TRIALS
    random.Random(KEY.seed).shuffle(planted)
    assert tuple(planted) == KEY.planted
    usual, slower = KEY.units
    assert slower / usual == 1.03
    assert TIMES.shape == (2 * TRIALS, len(CLOCKS), 2, KEY.pairs)
    assert TIMES.min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("clock", CLOCKS)
def test_three_per_cent_are_found_and_equal_sides_are_quiet(clock: str) -> None:
    """At least 95 of 100 found, at most 5 of 100 alarms; on two cores that eight to eleven other
    processes wanted, too."""
    seen = tally(KEY.planted, TIMES[:, CLOCKS.index(clock)], KEY.pairs)
    assert seen.slower >= 95
    assert seen.alarms <= 5


def test_the_planted_slowdown_is_the_one_that_is_measured() -> None:
    """Over all planted trials the median ratio is 1.03 within a third of it, of the others 1."""
    for clock in range(len(CLOCKS)):
        times = TIMES[:, clock].astype(np.float64)
        medians = np.median(times[:, 1] / times[:, 0], axis=1)
        planted = np.array(KEY.planted)
        assert np.median(medians[planted]) == pytest.approx(1.03, abs=0.01)
        assert np.median(medians[~planted]) == pytest.approx(1.0, abs=0.01)
