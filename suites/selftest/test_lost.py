"""Which missing measurements an upgrade lost: the table of `is_lost`, side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import Lack
from harness.judging.compare.lost import is_lost, why_lost
from harness.judging.compare.pairs import Pair, Side
from harness.judging.goldens.judgement import LEFT_OUT
from harness.records.record import Status, Verdict

VALUE = Side(Status.OK, 1.0, "measured")
# Its probe broke as a whole, which is a finding of its own.
ABSENT = Side(None, error="ids.probe is BROKEN", lack=Lack.FINDING, blocked_by="ids.probe")
NEEDS_CUDA = Side(Status.NOT_RUN, error="needs CUDA", lack=Lack.CUDA)
BLOCKED = Side(Status.NOT_RUN, error="broke", lack=Lack.FINDING, blocked_by="ids.pad")
SOMEHOW = Side(Status.NOT_RUN, error="somehow", lack=Lack.OTHER)
UNNAMED = Side(Status.NOT_RUN, error="no such metric", lack=Lack.METRIC)
OTHERWISE = Side(Status.NOT_RUN, error="otherwise", lack=Lack.OTHER)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        # What NEW could not measure and OLD could, for whatever reason but a finding.
        (VALUE, SOMEHOW, True),
        (VALUE, NEEDS_CUDA, True),
        (VALUE, BLOCKED, False),
        # What OLD could not measure: a limit of the machine, or nobody knows.
        (NEEDS_CUDA, VALUE, False),
        (BLOCKED, VALUE, False),
        (SOMEHOW, VALUE, True),
        # Neither: alike for one reason, else a measurement is missing.
        (NEEDS_CUDA, NEEDS_CUDA, False),
        (SOMEHOW, SOMEHOW, False),
        (SOMEHOW, OTHERWISE, True),
        (NEEDS_CUDA, SOMEHOW, True),
        (NEEDS_CUDA, BLOCKED, False),
        # One lack, in the words of two releases.
        (UNNAMED, replace(UNNAMED, error="not here"), False),
        # Where a whole probe broke, that is said once and in its place.
        (VALUE, ABSENT, False),
        (SOMEHOW, ABSENT, False),
        (ABSENT, OTHERWISE, False),
    ],
)
def test_a_measurement_that_was_not_run_is_lost_or_not(old: Side, new: Side, lost: bool) -> None:
    assert is_lost(Pair("ids.x", "ids", "x", "", Verdict.NOT_RUN, old, new)) is lost


@pytest.mark.parametrize(
    ("verdict", "broken", "lost"),
    [
        (Verdict.NOT_COMPARABLE, "", True),
        (Verdict.BROKEN, "both", True),
        (Verdict.BROKEN, "new", False),
        (Verdict.CHANGED, "", False),
        (Verdict.SAME, "", False),
    ],
)
def test_what_was_compared_is_not_lost(verdict: Verdict, broken: str, lost: bool) -> None:
    assert is_lost(Pair("ids.x", "ids", "x", "", verdict, VALUE, VALUE, broken=broken)) is lost


def pair(old: Side, new: Side, **changes: object) -> Pair:
    whole = Pair("ids.x", "ids", "x", "", Verdict.NOT_RUN, old, new)
    return replace(whole, **changes)  # type: ignore[arg-type]


LEFT = Side(None, error=LEFT_OUT, lack=Lack.METRIC)


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        (pair(VALUE, SOMEHOW), "somehow"),
        (pair(SOMEHOW, VALUE), "somehow"),
        (pair(SOMEHOW, OTHERWISE), "somehow / otherwise"),
        (pair(SOMEHOW, SOMEHOW), "somehow"),
        # That a value is not there says less than why the other side has none, but is said.
        (pair(SOMEHOW, LEFT), "somehow"),
        (pair(LEFT, SOMEHOW), "somehow"),
        (pair(LEFT, VALUE), LEFT_OUT),
        (pair(LEFT, LEFT), LEFT_OUT),
        (pair(SOMEHOW, SOMEHOW, broken="both"), "both sides: somehow"),
        (pair(SOMEHOW, OTHERWISE, broken="both"), "somehow / otherwise"),
        (
            pair(SOMEHOW, VALUE, verdict=Verdict.NOT_COMPARABLE, reason="the devices differ"),
            "the devices differ",
        ),
    ],
)
def test_why_a_measurement_is_lost_is_said_once(lost: Pair, why: str) -> None:
    assert why_lost(lost) == why
