"""The comparison's page and console view on made-up pairs: the answer, the cards, hostile texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.register import Change
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.view import groups
from harness.records.failure import Failure
from harness.records.record import Status, Verdict
from suites.selftest.upgrades import (
    BROKEN,
    CALL,
    FIXED,
    M_ROPE,
    SAME,
    change,
    comparison,
    pair,
    told,
)


@pytest.mark.parametrize(
    ("pairs", "changes", "tone", "title"),
    [
        ([SAME], [], "good", "Yes: nothing changes"),
        ([SAME, pair("forward.loss")], [], "bad", "Not yet: something unknown changed"),
        ([FIXED, BROKEN], [M_ROPE, CALL], "known", "Yes, after changing your code"),
        ([FIXED], [M_ROPE], "known", "Yes"),
        (
            [pair("cost.flops", verdict=Verdict.WORSE)],
            [change("c", "cost.flops")],
            "known",
            "Yes, but not for free",
        ),
        (
            [pair("text.record", verdict=Verdict.NOT_COMPARABLE, reason="other device")],
            [],
            "missing",
            "Nothing was compared",
        ),
    ],
)
def test_the_answer(pairs: list[Pair], changes: list[Change], tone: str, title: str) -> None:
    assert told(comparison(pairs, changes)) == (tone, title)


def test_training_that_was_wrong_and_is_mended_is_said_by_name() -> None:
    outcome = comparison([FIXED, BROKEN], [M_ROPE, CALL])
    assert "1 fault of OLD is fixed, 1 of them wrong training (title of mrope)" in (
        answer(outcome, groups(outcome)).why
    )


def gap(before: float, after: float, truth: float = 0.0) -> Pair:
    """A value that both sides get wrong, unless one of them is the truth."""
    result = pair("update.accumulation_gap", before, after, truth=truth)
    sides = (replace(s, right=s.value == truth) for s in (result.old, result.new))
    return replace(result, **dict(zip(("old", "new"), sides, strict=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "severity", "is_wrong"),
    [
        # 4.45.1 weighs micro-batches a little wrong, 4.47.1 adds them up: both wrong, one by far.
        (gap(0.006, 18.8), "wrong training", True),
        (gap(18.8, 0.006), "wrong training", False),
        (gap(0.0, 3.0), "wrong training", True),
        (gap(0.0, 3.0), "cost", False),
        (gap(3.0, 0.0), "wrong training", False),
        # Nobody knows which of the two is right.
        (pair("update.accumulation_gap", 1.0, 2.0), "wrong training", False),
    ],
)
def test_an_upgrade_that_trains_wrong_in_silence_is_no_yes(
    wrong: Pair, severity: str, is_wrong: bool
) -> None:
    outcome = comparison(
        [wrong, BROKEN], [change("sum", "update.accumulation_gap", severity), CALL]
    )
    tone, title = told(outcome)
    assert (tone == "bad") is is_wrong
    assert (title == "Not as it is: something goes wrong in silence") is is_wrong
    assert ("1 of them wrong and in silence" in answer(outcome, groups(outcome)).why) is is_wrong


def test_what_must_be_done_comes_before_what_a_fix_means() -> None:
    outcome = comparison([FIXED, BROKEN], [M_ROPE, CALL])
    assert answer(outcome, groups(outcome)).todo == ("advice of call", "advice of mrope")


def test_what_new_trains_wrong_in_silence_comes_first() -> None:
    lost = pair("trajectory.adapter_lost.saved_by_old", 0.0, 16.0, verdict=Verdict.WORSE)
    dear = pair("cost.flops", verdict=Verdict.WORSE)
    changes = [
        M_ROPE,
        CALL,
        change("adapter", "trajectory.adapter_lost", "wrong training"),
        change("dear", "cost.flops"),
    ]
    outcome = comparison([FIXED, BROKEN, lost, dear], changes)
    told = answer(outcome, groups(outcome))
    order = ("adapter", "call", "dear", "mrope")
    assert told.todo == tuple(f"advice of {name}" for name in order)
    assert [line.split(" (")[0] for line in told.changes] == [f"title of {n}" for n in order]
    unknown = comparison([pair("forward.loss"), lost, BROKEN], changes)
    assert "forward.loss" in answer(unknown, groups(unknown)).changes[0]


@pytest.mark.parametrize(
    ("side", "kind", "message", "title"),
    [
        ("old", "ChildDied", "signal 9; last line: x", "Measuring text died on OLD"),
        ("new", "ChildHung", "no answer within 5 s", "Measuring text hung on NEW"),
    ],
)
def test_a_process_that_died_or_hung_is_no_change_of_a_package(
    side: str, kind: str, message: str, title: str
) -> None:
    failure = Failure(kind, message, "a.log")
    sides = {side: Side(Status.BROKEN, error="in words", failure=failure)}
    dead = pair("text.probe", verdict=Verdict.BROKEN, broken=side, **sides)
    outcome = comparison([dead, SAME])
    (group,) = groups(outcome)
    told = answer(outcome, (group,))
    assert group.title == title
    assert (told.tone, told.title) == ("bad", "Not yet: not everything was measured")
    assert told.why == f"{title}: {message}."
    assert told.todo == (
        "Run the same command again with `--resume`: it measures that rung anew. If it ends so "
        "again, a.log says where it stood.",
    )
    assert outcome.exit_code == 1
    # Beside another unknown difference that one is told first.
    outcome = comparison([dead, pair("forward.loss")])
    assert answer(outcome, groups(outcome)).title == "Not yet: something unknown changed"
    assert "forward.loss" in answer(outcome, groups(outcome)).why


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["ids.batch_ids"], "1 value differs without a known explanation; look at ids.batch_ids"),
        (
            ["ids.batch_ids", "ids.batch_mask", "ids.pad_token"],
            "3 values differ without a known explanation; look at ids.batch_ids",
        ),
    ],
)
def test_the_answer_counts_values_and_not_the_headings_that_they_stand_under(
    names: list[str], why: str
) -> None:
    outcome = comparison([pair(name) for name in names])
    assert len(groups(outcome)) == 1
    assert answer(outcome, groups(outcome)).why == f"{why} first."
