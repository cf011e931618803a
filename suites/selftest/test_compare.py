"""The judge's verdicts on hand-made records: each rule of the contract once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInput, Lack
from harness.judging.compare.comparison import Finding
from harness.judging.compare.pairs import pair_records
from harness.judging.goldens.bands import BANDS_SCHEMA, EXACT, Allowed, Bands, read_bands
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.judgement import Judged, Judgement, facts_of
from harness.judging.goldens.values import (
    distance,
    inside,
    is_tensor,
    stored,
    tensor_gap,
    within,
)
from harness.judging.goldens.verdicts import judge, verdict_of
from harness.records.failure import Failure
from harness.records.record import Direction, Metric, Status, Verdict
from harness.records.seals import write_sealed
from harness.records.typed import Json
from suites.selftest.comparisons import broken
from suites.selftest.verdicts import golden, loss, record, verdict


@pytest.mark.parametrize(
    ("kind", "limit", "old", "new", "expected"),
    [
        (BandKind.EXACT, 0, "a\n", "a\n", True),
        (BandKind.EXACT, 0, "a\n", "a", False),
        (BandKind.EXACT, 0, 0.0, False, False),
        (BandKind.EXACT, 0, [1, {"a": True}], [1, {"a": 1}], False),
        (BandKind.EXACT, 0, [1, {"a": 2}], [1.0, {"a": 2}], True),
        # The place of a tensor's data is no part of its value; of anything else a key is one.
        (BandKind.EXACT, 0, {"digest": "d", "key": "a"}, {"digest": "d", "key": "b"}, True),
        (BandKind.EXACT, 0, {"text": "d", "key": "a"}, {"text": "d", "key": "b"}, False),
        (BandKind.ABSOLUTE, 0.1, 1.0, 1.09, True),
        (BandKind.ABSOLUTE, 0.1, 1.0, 1.2, False),
        (BandKind.ABSOLUTE, 0.1, 1.0, 0.8, False),
        (BandKind.RELATIVE, 0.1, 10.0, 10.9, True),
        (BandKind.RELATIVE, 0.1, 10.0, 8.9, False),
        (BandKind.AT_MOST, 0, 3, 3, True),
        (BandKind.AT_MOST, 0, 3, 4, False),
        (BandKind.AT_MOST, 0.5, 3, 3.5, True),
        (BandKind.AT_MOST, 0.5, 3, 3.6, False),
        (BandKind.AT_MOST, 0, 3, -300, True),
        (BandKind.AT_LEAST, 0, 3, 2, False),
        (BandKind.AT_LEAST, 0.5, 3, 2.5, True),
        (BandKind.AT_LEAST, 0.5, 3, 2.4, False),
        (BandKind.AT_LEAST, 0, 3, 300, True),
        (BandKind.RELATIVE, 0.1, -10.0, -10.9, True),
        (BandKind.RELATIVE, 0.1, -10.0, -11.1, False),
        (BandKind.ABSOLUTE, 0.1, [1.0, 2.0], [1.0, 2.05], True),
        (BandKind.ABSOLUTE, 0.1, [1.0, 2.0], [1.0], False),
    ],
)
def test_bands(kind: BandKind, limit: float, old: Json, new: Json, expected: bool) -> None:
    assert inside(Band(kind, limit), old, new) is expected


def test_a_numeric_band_over_text_is_an_error_not_a_pass() -> None:
    # A value that is no number is no slip of the golden: it is another value.
    assert verdict(loss("gone"), golden(1.0, Band(BandKind.RELATIVE, 0.1))) is Verdict.CHANGED
    with pytest.raises(TypeError, match="needs numbers"):
        inside(Band(BandKind.ABSOLUTE, 1), "a", "b")


def test_a_run_that_was_interrupted_is_never_whole() -> None:
    whole = judge({"forward": record("forward", loss(1.0))}, [golden(1.0)], [])
    assert whole.exit_code == 0
    cut = replace(whole, unmeasured=("update", "cost"))
    assert cut.exit_code == 3
    assert "interrupted, no record of update, cost; 1 values" in cut.headline
    assert "forward only" in whole.headline


def test_a_tensor_is_compared_by_content_not_by_address() -> None:
    old: Json = {"digest": "d", "shape": [1], "dtype": "float32"}
    assert inside(Band(), old, {"digest": "d", "shape": [1], "dtype": "float32", "key": "k"})
    assert not inside(Band(), old, {"digest": "e", "shape": [1], "dtype": "float32"})


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


def test_an_exact_value_of_another_shape_is_another_value() -> None:
    for now, wish in ((3, {"a": 1}), ({"a": 1}, 3), (["a"], {"a": 1}), ({"a": 1}, ["a"])):
        assert verdict(loss(now), golden(wish)) is Verdict.CHANGED


def test_what_was_not_compared_is_in_the_headline() -> None:
    assert "nothing was compared" in judge({"forward": record("forward")}, [], []).headline
    seen = judge({"forward": record("forward", loss(1))}, [golden(1)], [])
    assert "nothing was compared" not in seen.headline


@pytest.mark.parametrize(
    "change", [{"bands": [{}]}, {"bands": None}, {"left_out": [{"metric": "x"}]}]
)
def test_bands_that_are_not_complete_name_their_file(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "compare.json"
    write_sealed(path, {"schema": BANDS_SCHEMA, "bands": [], "left_out": [], **change})
    with pytest.raises(BadInput, match=f"{path} is not complete"):
        read_bands(path)


def test_nothing_compared_is_never_green() -> None:
    assert judge({"forward": record("forward", loss(1))}, [], []).exit_code == 3


def test_broken_without_a_golden_is_still_red() -> None:
    broken = Metric(
        "forward", "probe", status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1")
    )
    judgement = judge({"forward": record("forward", loss(1), broken)}, [golden(1)], [])
    assert judgement.exit_code == 1


@pytest.mark.parametrize("kind", list(BandKind))
def test_a_truths_band_is_between_two_sides_only_where_it_is_a_distance(kind: BandKind) -> None:
    """A bound, and what is exact, says nothing of how far two sides may be apart."""
    band = Band(kind, 0.5)
    distance = kind in {BandKind.ABSOLUTE, BandKind.RELATIVE}
    allowed = Bands({}, {}).of("forward.loss", golden(1.0, band))
    assert allowed == (Allowed(band, "truth") if distance else Allowed(EXACT, "exact"))
    listed = Allowed(Band(BandKind.ABSOLUTE, 0.1), "rounding")
    assert Bands({"forward.loss": listed}, {}).of("forward.loss", golden(1.0, band)) is listed
    assert Bands({}, {}).of("forward.loss", None) == Allowed(EXACT, "exact")


@pytest.mark.parametrize(
    ("old", "new", "gap"),
    [
        (1.0, 4.0, 3.0),
        (4.0, 1.0, 3.0),
        # Of several the largest, whichever it is.
        ([0.0, 1.0, 2.0], [0.5, 6.0, 2.0], 5.0),
        ([0.0, 1.0, 2.0], [0.5, 1.0, -7.0], 9.0),
        ([], [], 0.0),
        ([1.0], [1.0, 2.0], None),
        ("a", 1.0, None),
        (1.0, None, None),
        # What a float cannot hold, JSON cannot either.
        (float("inf"), 1.0, None),
        (1.0, float("nan"), None),
        (1e308, -1e308, None),
    ],
)
def test_the_distance_of_two_values_is_their_largest(
    old: Json, new: Json, gap: float | None
) -> None:
    assert distance(old, new) == gap


@pytest.mark.parametrize(
    ("kind", "old", "new", "same"),
    [
        # Of the larger of the two, so that the way back says the same.
        (BandKind.RELATIVE, 8.0, 10.0, True),
        (BandKind.RELATIVE, 7.0, 10.0, False),
        (BandKind.RELATIVE, -8.0, -10.0, True),
        (BandKind.ABSOLUTE, 8.0, 8.25, True),
        (BandKind.ABSOLUTE, 8.0, 8.26, False),
        (BandKind.ABSOLUTE, [8.0, 1.0], [8.25, 1.26], False),
        # A bound says nothing of two sides: they must be equal.
        (BandKind.AT_MOST, 8.0, 7.9, False),
        (BandKind.AT_MOST, 8.0, 8.0, True),
        (BandKind.AT_LEAST, 8.0, 8.1, False),
        (BandKind.AT_LEAST, 8.0, 8.0, True),
        (BandKind.EXACT, 8.0, 8.0, True),
        (BandKind.EXACT, 8.0, 8.1, False),
        # What is no number is the same or another.
        (BandKind.ABSOLUTE, "a", "a", True),
        (BandKind.ABSOLUTE, "a", "b", False),
        (BandKind.RELATIVE, 8.0, "a", False),
        (BandKind.RELATIVE, [8.0], [8.0, 8.0], False),
        (BandKind.RELATIVE, float("nan"), 8.0, False),
    ],
)
def test_two_sides_agree_whichever_comes_first(
    kind: BandKind, old: Json, new: Json, same: bool
) -> None:
    band = Band(kind, 0.25)
    assert within(band, old, new) is same
    assert within(band, new, old) is same


@pytest.mark.parametrize(
    ("kind", "inside_", "outside"),
    [
        (BandKind.ABSOLUTE, (2.25, 1.75), (2.2500001, 1.7499999)),
        (BandKind.RELATIVE, (2.5, 1.5), (2.5000001, 1.4999999)),
        (BandKind.AT_MOST, (2.25, -9.0), (2.2500001,)),
        (BandKind.AT_LEAST, (1.75, 9.0), (1.7499999,)),
    ],
)
def test_a_bands_edge_belongs_to_it(
    kind: BandKind, inside_: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    """Of two and a quarter, which float64 holds exactly."""
    band = Band(kind, 0.25)
    assert all(inside(band, 2.0, now) for now in inside_)
    assert not any(inside(band, 2.0, now) for now in outside)
    # One of several that is outside is enough.
    assert not inside(band, [2.0, 2.0], [2.0, outside[0]])
    assert not inside(band, [2.0, 2.0], [outside[0], 2.0])
    assert not inside(band, 2.0, "two")


def test_tensors_are_as_far_apart_as_their_furthest_numbers() -> None:
    one = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    other = np.array([[1.5, 2.0], [3.0, 1.0]], dtype=np.float16)
    assert tensor_gap(one, other) == 3.0
    assert tensor_gap(one, one) == 0.0
    assert tensor_gap(one, one[0]) is None
    assert tensor_gap(one, None) is None
    assert tensor_gap(None, one) is None
    assert tensor_gap(one[:0], one[:0]) == 0.0
    assert tensor_gap(one, np.full((2, 2), np.nan)) is None
    # Unsigned numbers do not wrap round.
    assert tensor_gap(np.array([1], np.uint8), np.array([3], np.uint8)) == 2.0


def test_a_tensors_value_is_its_digest_and_its_data_lie_beside_it() -> None:
    value: Json = {"digest": "d", "shape": [1], "dtype": "float32", "key": "k"}
    kept = {"k": np.zeros(1)}
    assert is_tensor(value)
    assert not any(is_tensor(other) for other in ({"shape": [1]}, "digest", ["digest"], None))
    assert stored(value, kept) is kept["k"]
    for other in ({"digest": "d"}, {"digest": "d", "key": 3}, "k", None):
        assert stored(other, kept) is None  # type: ignore[arg-type]
    assert stored(value, {}) is None


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


def test_what_another_band_of_numbers_expects_is_not_met_by_a_text() -> None:
    """A list that knows a number's size finds a text there: another finding, and no accident."""
    band = Band(BandKind.RELATIVE, 0.1, "rounding")
    for known, value in ((2.0, "gone"), ("gone", 2.0)):
        wish = Expected("forward.loss", "CHANGED", "known upstream", value=known, band=band)
        outcome = judge({"forward": record("forward", loss(value))}, [golden(1)], [wish])
        assert outcome.exit_code == 1


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


def test_bands_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    for schema in (BANDS_SCHEMA + 1, None):
        write_sealed(path, {"schema": schema, "bands": [], "left_out": []})
        with pytest.raises(BadInput, match=f"{path} holds no bands of schema {BANDS_SCHEMA}"):
            read_bands(path)
    write_sealed(path, {"schema": BANDS_SCHEMA, "bands": [], "left_out": []})
    assert read_bands(path) == Bands({}, {})


def test_an_error_without_a_type_is_not_the_one_that_a_list_names() -> None:
    wish = Expected("forward.loss", "BROKEN", "gone", "ImportError")
    bare = Metric("forward", "loss", status=Status.BROKEN)
    outcome = judge({"forward": record("forward", bare)}, [golden(1)], [wish])
    assert {item.kind for item in outcome.red} == {"truth", "expected"}
    anything = replace(wish, type=None)
    assert judge({"forward": record("forward", bare)}, [golden(1)], [anything]).red == ()
