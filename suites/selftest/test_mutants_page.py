"""What came of the mutants that were drawn, and the page that is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.records.folders import PROJECT
from harness.records.record import RUNGS
from suites.mutants import page, record
from suites.mutants.record import ACTS, CRASHED, Tried
from suites.mutants.seen import AFTER, EARLIER, NEVER, ONLY_COMPARED, seen
from suites.mutants.stages import STAGES


# Brown, Cai, DasGupta (2001), Interval Estimation for a Binomial Proportion, (4); worked out by
# hand for z = 1.96: none of 10, 5 of 10, all of 10.
@pytest.mark.parametrize(
    ("part", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_an_interval_is_wilsons(part: int, of: int, low: float, high: float) -> None:
    assert page.wilson(part, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("part", "of"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_has_no_interval(part: int, of: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        page.wilson(part, of)


KEPT = record.read()
ACTING = [one for one in KEPT.tried if one.outcome == ACTS]


def test_the_page_is_of_the_record() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(KEPT)


def test_the_readme_has_the_figure_of_the_half_that_nobody_had_seen() -> None:
    acting = [one for one in ACTING if one.half == "second"]
    red = [one for one in acting if one.found]
    words = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").split())
    sentence = (
        f"of {len(acting)} mutants of `{KEPT.stack}`'s libraries, drawn at random, that silently "
        f"alter a training, {len(red)} turn it red."
    )
    assert sentence in words


def test_an_error_is_nowhere_counted_as_found() -> None:
    crashed = [one for one in KEPT.tried if one.outcome == CRASHED]
    assert crashed
    for one in KEPT.tried:
        if one.outcome != ACTS:
            assert (one.found, one.expected, one.moved, one.rungs) == ("", "", (), ())
        else:
            assert one.expected == STAGES[one.stage]
            assert one.moved[0] == one.stage
            assert set(RUNGS[2 : RUNGS.index(one.expected) + 1]) <= set(one.rungs)


def test_no_mutant_is_in_both_halves() -> None:
    names = [one.name for one in KEPT.tried]
    assert len(names) == len(set(names))
    for half in KEPT.halves:
        mine = [one.number for one in KEPT.tried if one.half == half]
        assert mine == list(range(len(mine)))


def test_whatever_was_not_red_in_time_is_told() -> None:
    missed = {one.name for one in ACTING if seen(one) != EARLIER}
    assert set(page.WHY) == missed
    assert all(page.WHY.values())


def test_a_mutant_is_seen_in_one_of_four_ways() -> None:
    one = Tried(*("", 0), *("",) * 4, *(1, 0), "", 0, *("",) * 3, expected="forward")
    assert seen(replace(one, found="model")) == EARLIER
    assert seen(replace(one, found="forward", compared="text")) == EARLIER
    assert seen(replace(one, found="update")) == AFTER
    assert seen(replace(one, compared="update")) == ONLY_COMPARED
    assert seen(one) == NEVER
