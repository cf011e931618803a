"""The judge's verdicts on hand-made records: each rule of the contract once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.compare.comparison import Finding
from harness.judging.goldens.bands import BANDS_SCHEMA, EXACT, Allowed, Bands, read_bands
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.values import inside
from harness.judging.goldens.verdicts import judge
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
