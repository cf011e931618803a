"""The judge's verdicts on hand-made records: each rule of the contract once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import Lack
from harness.judging.compare.comparison import Finding
from harness.judging.compare.pairs import pair_records
from harness.judging.goldens.bands import Bands
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.judgement import Judged, Judgement, facts_of
from harness.judging.goldens.verdicts import judge, verdict_of
from harness.records.failure import Failure
from harness.records.record import Direction, Metric, Status, Verdict
from harness.records.typed import Json
from suites.selftest.comparisons import broken
from suites.selftest.verdicts import golden, loss, record, verdict


def test_a_run_that_was_interrupted_is_never_whole() -> None:
    whole = judge({"forward": record("forward", loss(1.0))}, [golden(1.0)], [])
    assert whole.exit_code == 0
    cut = replace(whole, unmeasured=("update", "cost"))
    assert cut.exit_code == 3
    assert "interrupted, no record of update, cost; 1 values" in cut.headline
    assert "forward only" in whole.headline


def test_direction_decides_between_improved_and_worse() -> None:
    band = Band(BandKind.RELATIVE, 0.01)
    lower = {"direction": Direction.LOWER}
    assert verdict(loss(1.0), golden(1.0, band)) is Verdict.SAME
    assert verdict(loss(2.0), golden(1.0, band)) is Verdict.CHANGED
    assert verdict(loss(2.0, **lower), golden(1.0, band)) is Verdict.WORSE
    seen = golden(
        1.0, band, kind="observed", device_key="cpu-x", stack="reference", model="stand-in"
    )
    assert verdict(loss(0.5, **lower), seen) is Verdict.IMPROVED
    # A truth cannot be bettered.
    assert verdict(loss(0.5, **lower), golden(1.0, band)) is Verdict.CHANGED


@pytest.mark.parametrize("direction", list(Direction))
def test_what_moves_inside_a_list_is_neither_better_nor_worse(direction: Direction) -> None:
    """It was IMPROVED, and green, where less is better."""
    where = {"kind": "observed", "device_key": "cpu-x", "stack": "reference", "model": "stand-in"}
    metric = loss([2.0, 1.0], direction=direction)
    assert verdict(metric, golden([1.0, 2.0], **where)) is Verdict.CHANGED


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("kind", "beyond"), [(BandKind.AT_MOST, 4.0), (BandKind.AT_LEAST, 2.0)], ids=str
)
def test_a_broken_bound_is_never_an_improvement(
    kind: BandKind, beyond: float, direction: Direction
) -> None:
    wish = golden(3.0, Band(kind, 0.0))
    without = verdict(loss(beyond), wish)
    assert without is Verdict.CHANGED
    if direction is not Direction.NONE:
        assert verdict(loss(beyond, direction=direction), wish) is Verdict.WORSE


@pytest.mark.parametrize("verdict_", [Verdict.CHANGED, Verdict.WORSE, Verdict.BROKEN])
def test_each_of_the_three_bad_verdicts_turns_a_run_red(verdict_: Verdict) -> None:
    metrics = {
        Verdict.CHANGED: loss(2.0),
        Verdict.WORSE: loss(2.0, direction=Direction.LOWER),
        Verdict.BROKEN: loss(None, status=Status.BROKEN, failure=Failure("E", "m", "f:1")),
    }
    judgement = judge({"forward": record("forward", metrics[verdict_])}, [golden(1.0)], [])
    assert [item.verdict for item in judgement.red] == [verdict_]
    assert judgement.exit_code == 1


def test_a_missing_metric_is_not_run_and_required() -> None:
    judgement = judge({"forward": record("forward")}, [golden(1)], [])
    assert judgement.items[0].verdict is Verdict.NOT_RUN
    assert judgement.exit_code == 3


def test_red_beats_missing() -> None:
    other = golden(1, metric="normaliser")
    judgement = judge({"forward": record("forward", loss(2))}, [golden(1), other], [])
    assert judgement.exit_code == 1
    assert judgement.first_red_rung == "forward"


def test_a_difference_that_neither_stack_can_do_is_not_red() -> None:
    """It is said, and counted as missing."""
    assert not Finding(broken("ids.x", "both")).is_red
    assert Finding(broken("ids.x", "old")).is_red
    assert Finding(broken("ids.x", "new")).is_red


def test_what_was_not_compared_is_in_the_headline() -> None:
    assert "nothing was compared" in judge({"forward": record("forward")}, [], []).headline
    seen = judge({"forward": record("forward", loss(1))}, [golden(1)], [])
    assert "nothing was compared" not in seen.headline


def test_nothing_compared_is_never_green() -> None:
    assert judge({"forward": record("forward", loss(1))}, [], []).exit_code == 3


def test_broken_without_a_golden_is_still_red() -> None:
    broken = Metric(
        "forward", "probe", status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1")
    )
    judgement = judge({"forward": record("forward", loss(1), broken)}, [golden(1)], [])
    assert judgement.exit_code == 1


@pytest.mark.parametrize(
    ("red", "missing", "known", "sentence"),
    [
        (0, 0, 0, ": forward only; 1 values as they should be."),
        (1, 0, 0, ": 1 unexpected finding, first at forward, forward only; 1 values as"),
        (2, 0, 0, ": 2 unexpected findings, first at forward, forward only; 1 values as"),
        (0, 2, 0, ": 2 not run, forward only; 1 values as"),
        (1, 1, 2, ": 1 unexpected finding, first at forward, 2 known findings, 1 not run, forward"),
    ],
)
def test_the_headline_counts_what_there_is(
    red: int, missing: int, known: int, sentence: str
) -> None:
    names = [f"m{i}" for i in range(red + missing + known)]
    goldens = [golden(1), *(golden(1, metric=name) for name in names)]
    metrics = [loss(2, name=name) for name in names[: red + known]]
    wishes = [Expected(f"forward.{name}", "CHANGED", "known") for name in names[red : red + known]]
    judgement = judge({"forward": record("forward", loss(1), *metrics)}, goldens, wishes)
    where = "reference on cpu-x, model stand-in, data catalogue"
    assert f"{where}, recipe r{sentence}" in judgement.headline
    assert judgement.compared == 1 + red + known
    assert judgement.exit_code == (1 if red else 3 if missing else 0)


def judged(**changes: object) -> Judged:
    item = Judged("ids.x", "ids", Verdict.SAME, "truth", 1, 1, Band(), "measured", "why")
    return replace(item, **changes)  # type: ignore[arg-type]


FACTS = facts_of({"ids": record("ids")})
UNRUN = {"verdict": Verdict.NOT_RUN, "now": None}


@pytest.mark.parametrize(
    ("item", "code", "missing", "compared"),
    [
        (judged(), 0, 0, 1),
        (judged(kind="observed"), 0, 0, 1),
        # A status, or what did not occur, is no comparison.
        (judged(kind="status"), 3, 0, 0),
        (judged(verdict=Verdict.IMPROVED), 0, 0, 1),
        (judged(verdict=Verdict.CHANGED), 1, 0, 1),
        (judged(verdict=Verdict.CHANGED, known=True), 0, 0, 1),
        (judged(verdict=Verdict.CHANGED, accepted=True), 0, 0, 1),
        (judged(**UNRUN), 3, 1, 0),
        (judged(**UNRUN, known=True), 3, 0, 0),
        (judged(**UNRUN, accepted=True), 3, 0, 0),
        (judged(verdict=Verdict.NOT_COMPARABLE), 3, 1, 0),
    ],
)
def test_what_a_run_of_one_value_ends_with(
    item: Judged, code: int, missing: int, compared: int
) -> None:
    outcome = Judgement(FACTS, (item,), ("ids",))
    assert (outcome.exit_code, len(outcome.missing), outcome.compared) == (code, missing, compared)
    # Beside a value that was compared only what is required is missed.
    beside = replace(outcome, items=(judged(finding="ids.y"), item))
    assert beside.exit_code == (1 if code == 1 else 3 if missing else 0)
    needless = replace(beside, items=(judged(), replace(item, required=False)))
    assert needless.exit_code == (1 if code == 1 else 0)
    assert judged().required


def test_only_a_value_without_any_number_is_unobserved() -> None:
    nobody = judged(kind="observed", golden=None, **UNRUN)
    assert nobody.is_unobserved
    for changes in ({"kind": "truth"}, {"golden": 2.0}, {"verdict": Verdict.NOT_COMPARABLE}):
        assert not replace(nobody, **changes).is_unobserved  # type: ignore[arg-type]
    outcome = Judgement(FACTS, (replace(nobody, finding="ids.b.left"), nobody, judged()), ("ids",))
    assert outcome.calibration.startswith("harness golden calibrate ids.b ids.x --stack reference")
    assert replace(outcome, items=(judged(),)).calibration == ""


def test_a_stack_is_called_by_its_name() -> None:
    assert replace(FACTS, stack="latest,trl==1.0,peft==0.1").stack_name == "latest"
    assert FACTS.stack_name == "reference"
    assert (FACTS.device, replace(FACTS, device_key="cuda-nvidia-h200").device) == ("cpu", "cuda")


@pytest.mark.parametrize(
    ("old", "new", "direction", "wanted"),
    [
        (1.0, 2.0, Direction.HIGHER, Verdict.IMPROVED),
        (2.0, 1.0, Direction.HIGHER, Verdict.WORSE),
        (1.0, 2.0, Direction.LOWER, Verdict.WORSE),
        (2.0, 1.0, Direction.LOWER, Verdict.IMPROVED),
        (1.0, 2.0, Direction.NONE, Verdict.CHANGED),
        # Of what is no number, or another number of numbers, none is better.
        ("a", 1.0, Direction.HIGHER, Verdict.CHANGED),
        (1.0, "a", Direction.HIGHER, Verdict.CHANGED),
        ([1.0], [1.0, 2.0], Direction.HIGHER, Verdict.CHANGED),
        ([1.0, 2.0], [1.0, 3.0], Direction.HIGHER, Verdict.IMPROVED),
        ([1.0, 2.0], [2.0, 1.0], Direction.HIGHER, Verdict.CHANGED),
        (1.0, 1.0, Direction.HIGHER, Verdict.SAME),
    ],
)
def test_better_is_more_or_less_as_the_metric_says(
    old: Json, new: Json, direction: Direction, wanted: Verdict
) -> None:
    assert verdict_of(Band(), old, new, direction) is wanted


def test_only_what_was_not_run_as_a_whole_stands_for_its_cases() -> None:
    """A whole that was measured, beside cases that were not, says nothing of them."""
    cased = replace(golden(1), cases={"left": 1})
    items = judge({"forward": record("forward", loss(1))}, [cased], []).items
    assert [(i.finding, i.verdict) for i in items] == [("forward.loss.left", Verdict.NOT_RUN)]
    assert items[0].reason == "the probe left no such metric"


@pytest.mark.parametrize(
    ("status", "verdict_", "reason"),
    [
        (Status.BROKEN, Verdict.BROKEN, "unknown error"),
        (Status.NOT_RUN, Verdict.NOT_RUN, "no reason given"),
    ],
)
def test_what_says_nothing_of_itself_is_said_to(
    status: Status, verdict_: Verdict, reason: str
) -> None:
    bare = Metric("forward", "loss", status=status)
    for goldens in ([], [golden(1)]):
        (item,) = judge({"forward": record("forward", bare)}, goldens, []).items
        assert (item.verdict, item.reason, item.now) == (verdict_, reason, None)
        assert item.failure is None
    (pair,) = pair_records(record("forward", bare), record("forward", loss(1)), Bands({}, {}))
    assert pair.old.error == reason


@pytest.mark.parametrize(
    ("lack", "blocked_by"), [(Lack.CUDA, ""), (Lack.FINDING, "ids.encoded"), (None, "")]
)
def test_what_was_not_run_says_what_it_lacked(lack: Lack | None, blocked_by: str) -> None:
    unrun = loss(None, status=Status.NOT_RUN, reason="why", lack=lack, blocked_by=blocked_by)
    for goldens in ([], [golden(1)]):
        (item,) = judge({"forward": record("forward", unrun)}, goldens, []).items
        assert (item.lack, item.blocked_by, item.reason) == (lack, blocked_by, "why")
    (pair,) = pair_records(record("forward", unrun), record("forward", loss(1)), Bands({}, {}))
    assert (pair.old.lack, pair.old.blocked_by) == (lack, blocked_by)
    assert pair.old.is_blocked is (lack is Lack.FINDING)


def test_an_optional_golden_is_not_required() -> None:
    for required in (True, False):
        wish = golden(1, required=required)
        (item,) = judge({"forward": record("forward")}, [wish], []).items
        assert (item.required, item.lack) == (required, Lack.METRIC)


def test_an_error_without_a_type_is_not_the_one_that_a_list_names() -> None:
    wish = Expected("forward.loss", "BROKEN", "gone", "ImportError")
    bare = Metric("forward", "loss", status=Status.BROKEN)
    outcome = judge({"forward": record("forward", bare)}, [golden(1)], [wish])
    assert {item.kind for item in outcome.red} == {"truth", "expected"}
    anything = replace(wish, type=None)
    assert judge({"forward": record("forward", bare)}, [golden(1)], [anything]).red == ()
