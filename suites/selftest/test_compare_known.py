"""Known and expected findings, accepted ones, and what was not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.errors import Lack
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.verdicts import judge
from harness.records.failure import Failure
from harness.records.record import RUNGS, Direction, Metric, Status, Verdict
from harness.records.typed import Json
from suites.selftest.verdicts import golden, loss, record


def test_a_known_finding_is_not_red_and_never_all_green() -> None:
    wish = Expected("forward.loss", "CHANGED", "known upstream")
    judgement = judge({"forward": record("forward", loss(2))}, [golden(1)], [wish])
    assert judgement.exit_code == 0
    assert "all green" not in judgement.headline
    assert "1 known finding" in judgement.headline


def test_an_expected_finding_that_vanished_is_red() -> None:
    wish = Expected("forward.loss", "CHANGED", "known upstream")
    judgement = judge({"forward": record("forward", loss(1))}, [golden(1)], [wish])
    assert judgement.exit_code == 1
    assert "update golden/expected" in judgement.red[0].reason


def test_an_optional_finding_may_occur_or_not() -> None:
    wish = Expected("forward.loss", "CHANGED", "near its band", optional=True)
    for value, known in ((2, 1), (1, 0)):
        judgement = judge({"forward": record("forward", loss(value))}, [golden(1)], [wish])
        assert (judgement.exit_code, len(judgement.known)) == (0, known)


def test_an_expected_finding_that_was_not_measured_is_missing_and_not_red() -> None:
    wish = Expected("forward.loss", "CHANGED", "known upstream")
    unmeasured = loss(None, status=Status.NOT_RUN, reason="no weights")
    judgement = judge({"forward": record("forward", unmeasured)}, [golden(1)], [wish])
    assert (judgement.exit_code, judgement.red) == (3, ())


def test_what_was_not_run_as_a_whole_says_so_for_every_case() -> None:
    cased = replace(golden(1), cases={"left": 1, "right": 1})
    unmeasured = loss(None, status=Status.NOT_RUN, reason="no weights")
    judgement = judge({"forward": record("forward", unmeasured)}, [cased], [])
    assert {i.reason for i in judgement.missing} == {"no weights"}
    assert {i.finding for i in judgement.missing} >= {"forward.loss.left", "forward.loss.right"}


def test_an_expected_error_of_another_type_is_red() -> None:
    broken = loss(None, status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1"))
    records = {"forward": record("forward", broken)}
    same = Expected("forward.loss", "BROKEN", "gone", "TypeError")
    assert judge(records, [golden(1)], [same]).red == ()
    other = Expected("forward.loss", "BROKEN", "gone", "ImportError")
    assert judge(records, [golden(1)], [other]).exit_code == 1


@pytest.mark.parametrize("verdict", ["BROKEN", "NOT_RUN"])
def test_an_expected_error_with_other_words_is_red(verdict: str) -> None:
    """A library that cannot be loaded breaks a call with the type of error that the list knows."""
    message = "libcudart.so.12: cannot open shared object file"
    metric = loss(None, status=Status.NOT_RUN, reason=message)
    if verdict == "BROKEN":
        metric = loss(None, status=Status.BROKEN, failure=Failure("ImportError", message, "f:1"))
    records = {"forward": record("forward", metric)}
    kind = "ImportError" if verdict == "BROKEN" else None
    same = Expected("forward.loss", verdict, "gone", kind, says=r"libcudart\.so")
    assert judge(records, [golden(1)], [same]).red == ()
    other = replace(same, says="AutoModelForVision2Seq")
    judgement = judge(records, [golden(1)], [other])
    assert judgement.exit_code == 1
    assert any(message in i.reason for i in judgement.red)


def test_a_known_finding_that_grows_is_red() -> None:
    band = Band(BandKind.RELATIVE, 0.1, "rounding")
    wish = Expected("forward.loss", "CHANGED", "known upstream", value=2.0, band=band)
    judgement = judge({"forward": record("forward", loss(2.1))}, [golden(1)], [wish])
    assert judgement.exit_code == 0
    judgement = judge({"forward": record("forward", loss(3.0))}, [golden(1)], [wish])
    assert judgement.exit_code == 1
    assert "3.0" in judgement.red[-1].reason


@pytest.mark.parametrize(
    ("otherwise", "value", "code"),
    [
        ({"head": {"": 3.0}}, 3.0, 0),
        ({"head": {"": 3.0}}, 4.0, 1),
        # Of another fault, and of another case, the oracle says nothing.
        ({"tail": {"": 3.0}}, 3.0, 1),
        ({"head": {"x": 3.0}}, 3.0, 1),
        ({}, 3.0, 1),
        # Records of before the oracles worked faults out.
        (None, 4.0, 0),
    ],
)
def test_a_known_finding_is_what_its_fault_makes_of_the_truth(
    otherwise: Mapping[str, Mapping[str, Json]] | None, value: float, code: int
) -> None:
    wish = Expected("forward.loss", "CHANGED", "known upstream", otherwise="head")
    truth = replace(golden(1), otherwise=otherwise)
    judgement = judge({"forward": record("forward", loss(value))}, [truth], [wish])
    assert judgement.exit_code == code
    if otherwise == {"head": {"": 3.0}} and code:
        assert "its value is 4.0 where the list says 3.0" in judgement.red[-1].reason


def test_part_of_a_ladder_is_never_all_green() -> None:
    part = judge({"forward": record("forward", loss(1))}, [golden(1)], [])
    assert (part.exit_code, "all green" in part.headline) == (0, False)
    assert part.headline.endswith(": forward only; 1 values as they should be.")
    every = {rung: record(rung) for rung in RUNGS} | {"forward": record("forward", loss(1))}
    assert judge(every, [golden(1)], []).headline.endswith("all green, 1 values judged.")


def test_accepted_findings_do_not_raise_the_code_but_stay() -> None:
    judgement = judge(
        {"forward": record("forward", loss(2))},
        [golden(1)],
        [],
        accepted=frozenset({"forward.loss"}),
    )
    assert judgement.exit_code == 0
    assert judgement.known[0].finding == "forward.loss"


@pytest.mark.parametrize(
    ("lack", "blocked_by", "known"),
    [
        (Lack.FINDING, "forward.grid", True),
        # Waiting for another value, or lacking something else, is another finding.
        (Lack.FINDING, "forward.other", False),
        (Lack.WEIGHTS, "", False),
    ],
)
def test_what_was_not_run_is_known_by_what_it_lacked(
    lack: Lack, blocked_by: str, known: bool
) -> None:
    """Whatever its sentence says."""
    unrun = loss(None, status=Status.NOT_RUN, reason="words", lack=lack, blocked_by=blocked_by)
    wish = Expected(
        "forward.loss", "NOT_RUN", "why", lacks=(Lack.FINDING,), blocked_by="forward.grid"
    )
    items = judge({"forward": record("forward", unrun)}, [], [wish]).items
    assert next(item.known for item in items if item.verdict is Verdict.NOT_RUN) is known


def test_a_fault_that_one_truth_knows_is_found_behind_those_that_know_none() -> None:
    wish = Expected("forward.loss", "CHANGED", "known upstream", otherwise="head")
    cased = replace(golden(1), metric="cased", cases={"left": 1, "right": 2})
    faults = {"head": {"left": 5, "right": 6}, "tail": {"left": 7}}
    truths = [
        golden(1, metric="other"),
        replace(cased, otherwise=faults),
        replace(golden(1), otherwise={"head": {"": 3.0}}),
    ]
    metrics = [loss(3.0), loss(1, name="other")]
    metrics += [loss(v, name="cased", case=c) for c, v in (("left", 7), ("right", 6))]
    wishes = [
        wish,
        replace(wish, finding="forward.cased.left", otherwise="tail"),
        replace(wish, finding="forward.cased.right"),
    ]
    judgement = judge({"forward": record("forward", *metrics)}, truths, wishes)
    assert judgement.red == ()
    assert len(judgement.known) == 3
    # Of the other fault it is another finding.
    wishes[1] = replace(wishes[1], otherwise="head")
    judgement = judge({"forward": record("forward", *metrics)}, truths, wishes)
    assert {item.finding for item in judgement.red} == {"forward.cased.left"}


def test_what_is_accepted_and_no_longer_a_finding_is_said_where_it_was_measured() -> None:
    accepted = frozenset({"forward.loss", "forward.gone", "forward.other", "ids.encoded.a"})
    metrics = (loss(1), loss(2, name="other"))
    goldens = [golden(1), golden(1, metric="other")]
    judgement = judge({"forward": record("forward", *metrics)}, goldens, [], accepted=accepted)
    # Of a rung that has no record nothing is known.
    assert judgement.stale_accepts == ("forward.gone", "forward.loss")
    assert [item.finding for item in judgement.items if item.accepted] == [
        "forward.loss",
        "forward.other",
    ]
    assert judgement.exit_code == 0
    # An id of no rung at all is none of a rung that was not measured.
    odd = judge({"forward": record("forward", loss(1))}, [golden(1)], [], accepted=frozenset({"x"}))
    assert odd.stale_accepts == ("x",)


def test_items_stand_in_the_order_of_the_records_and_then_by_name() -> None:
    records = {
        rung: record(rung, Metric(rung, "b", value=1), Metric(rung, "a", value=1))
        for rung in ("ids", "text")
    }
    goldens = [golden(1, rung=rung, metric=name) for name in "ba" for rung in ("text", "ids")]
    judgement = judge(records, goldens, [])
    assert [i.finding for i in judgement.items] == ["ids.a", "ids.b", "text.a", "text.b"]
    assert judgement.rungs == ("ids", "text")


def test_fewer_than_arithmetic_allows_are_no_improvement() -> None:
    metric = loss(1.0, direction=Direction.LOWER)
    (item,) = judge({"forward": record("forward", metric)}, [golden(2.0)], []).items
    assert item.verdict is Verdict.CHANGED
    seen = golden(2.0, kind="observed", device_key="cpu-x", stack="reference", model="stand-in")
    (item,) = judge({"forward": record("forward", metric)}, [seen], []).items
    assert item.verdict is Verdict.IMPROVED


def test_a_judged_value_says_where_it_comes_from() -> None:
    metric = loss(1.5, note="of 7 rows", unit="nats")
    wish = golden(1, reason="by hand")
    (item,) = judge({"forward": record("forward", metric)}, [wish], []).items
    assert (item.now, item.golden, item.reason) == (1.5, 1, "by hand")
    assert (item.evidence, item.unit, item.how) == ("of 7 rows", "nats", "measured")
    assert item.lack is None
    known = Expected("forward.loss", "CHANGED", "known upstream")
    (item,) = judge({"forward": record("forward", metric)}, [wish], [known]).items
    assert item.evidence == "of 7 rows"
    plain = replace(metric, note=None)
    (item,) = judge({"forward": record("forward", plain)}, [wish], [known]).items
    assert (item.known, item.evidence) == (True, "known upstream")


@pytest.mark.parametrize("rung", ["environment", "interface", "forward"])
def test_what_was_not_run_without_a_golden_is_missing_where_every_call_is_asked_for(
    rung: str,
) -> None:
    unrun = Metric(rung, "x", status=Status.NOT_RUN, reason="why", lack=Lack.CUDA)
    (item,) = judge({rung: record(rung, unrun)}, [], []).items
    assert item.required is (rung != "forward")
    assert (item.verdict, item.kind) == (Verdict.NOT_RUN, "status")
    assert (item.reason, item.how, item.lack) == ("why", "not run", Lack.CUDA)
    broken = Metric(rung, "x", status=Status.BROKEN, failure=Failure("E", "m", "f:1"))
    (item,) = judge({rung: record(rung, broken)}, [], []).items
    assert (item.verdict, item.reason, item.how) == (Verdict.BROKEN, "E: m (f:1)", "measured")


def test_a_known_finding_behind_one_that_may_be_missing_is_known_all_the_same() -> None:
    """Whatever lets one wish pass says nothing of the next."""
    here = record("forward", loss(2), data="/mine", data_digest="d")
    known = Expected("forward.loss", "CHANGED", "known upstream")
    absent = Expected("forward.other", "CHANGED", "why", optional=True, when="own-data")
    unrun = loss(None, name="unrun", status=Status.NOT_RUN, reason="no weights")
    missing = Expected("forward.unrun", "CHANGED", "why")
    for first in (absent, missing):
        records = {"forward": replace(here, metrics=(*here.metrics, unrun))}
        judgement = judge(records, [golden(1)], [first, known])
        assert judgement.red == ()
        assert "forward.loss" in {item.finding for item in judgement.known}


@pytest.mark.parametrize("when", ["always", "own-data"])
def test_what_may_be_missing_and_is_something_else_is_said(when: str) -> None:
    """Optional is that it does not occur, not that another error stands in its place."""
    broken = loss(None, status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1"))
    wish = Expected("forward.loss", "CHANGED", "near its band", optional=True, when=when)
    for metric in (broken, loss(9)):
        sized = replace(wish, value=2, band=Band())
        here = record("forward", metric, data="/mine", data_digest="d")
        judgement = judge({"forward": here}, [golden(1)], [sized])
        assert [item.kind for item in judgement.red] == ["truth", "expected"]
