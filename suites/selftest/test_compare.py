"""The judge's verdicts on hand-made records: each rule of the contract once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import BadInput, Lack
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.judgement import Facts, facts_of
from harness.judging.goldens.scope import holds
from harness.judging.goldens.values import inside
from harness.judging.goldens.verdicts import judge
from harness.records.failure import Failure
from harness.records.record import RUNGS, Direction, Metric, Provenance, Record, Status, Verdict
from harness.records.typed import Json

FACTS = Facts("reference", "stand-in", "catalogue", "cpu-x", "stand-in", "qwen2_vl")


def record(rung: str, *metrics: Metric, **changes: object) -> Record:
    provenance = Provenance(
        "reference",
        "stand-in",
        "catalogue",
        "cpu-x",
        "r",
        "s",
        vocabulary="stand-in",
        family="qwen2_vl",
    )
    return Record(rung, replace(provenance, **changes), metrics)  # type: ignore[arg-type]


def golden(value: Json, band: Band | None = None, **changes: object) -> Golden:
    plain = Golden("forward", "qwen2_vl", "loss", "truth", "hand", "why", {"": value})
    return replace(plain, band=band or Band(), **changes)  # type: ignore[arg-type]


def loss(value: Json, **changes: object) -> Metric:
    return replace(Metric("forward", "loss", value=value), **changes)  # type: ignore[arg-type]


def verdict(metric: Metric, wish: Golden) -> Verdict:
    return judge({"forward": record("forward", metric)}, [wish], []).items[0].verdict


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


def test_nothing_compared_is_never_green() -> None:
    assert judge({"forward": record("forward", loss(1))}, [], []).exit_code == 3


def test_broken_without_a_golden_is_still_red() -> None:
    broken = Metric(
        "forward", "probe", status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1")
    )
    judgement = judge({"forward": record("forward", loss(1), broken)}, [golden(1)], [])
    assert judgement.exit_code == 1


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


def test_observed_goldens_hold_for_their_device_and_stack_only() -> None:
    seen = golden(1, kind="observed", device_key="cpu-y", stack="reference", model="stand-in")
    other = replace(seen, stack="latest", device_key="cpu-x")
    assert judge({"forward": record("forward", loss(2))}, [other], []).items == ()
    here = replace(seen, device_key="cpu-x")
    assert judge({"forward": record("forward", loss(2))}, [here], []).exit_code == 1


def test_a_number_that_only_another_device_has_is_not_run_and_green() -> None:
    seen = golden(1, kind="observed", device_key="cpu-y", stack="reference", model="stand-in")
    truth = golden(3, metric="normaliser")
    records = {"forward": record("forward", loss(2), loss(3, name="normaliser"))}
    judgement = judge(records, [seen, truth], [])
    assert judgement.exit_code == 0
    assert [i.finding for i in judgement.missing] == ["forward.loss"]
    assert "harness golden calibrate forward.loss --stack reference" in judgement.missing[0].reason
    assert "1 not run" in judgement.headline
    # Once this device has its own, that one counts, in whatever order they are read.
    here = replace(seen, device_key="cpu-x")
    for order in ([seen, here, truth], [truth, here, seen]):
        assert judge(records, order, []).exit_code == 1


def test_an_observed_number_of_other_samples_is_not_comparable() -> None:
    seen = golden(
        1,
        kind="observed",
        device_key="cpu-x",
        stack="reference",
        model="stand-in",
        provenance={"samples": "other"},
    )
    (item,) = judge({"forward": record("forward", loss(2))}, [seen], []).items
    assert item.verdict is Verdict.NOT_COMPARABLE
    assert item.reason == "observed with another samples"
    assert [(c.name, c.old) for c in item.conditions] == [("samples", "other")]


def test_a_known_finding_that_grows_is_red() -> None:
    band = Band(BandKind.RELATIVE, 0.1, "rounding")
    wish = Expected("forward.loss", "CHANGED", "known upstream", value=2.0, band=band)
    judgement = judge({"forward": record("forward", loss(2.1))}, [golden(1)], [wish])
    assert judgement.exit_code == 0
    judgement = judge({"forward": record("forward", loss(3.0))}, [golden(1)], [wish])
    assert judgement.exit_code == 1
    assert "3.0" in judgement.red[-1].reason


def test_a_truth_outranks_an_observed_number() -> None:
    seen = golden(2, kind="observed", device_key="cpu-x", stack="reference", model="stand-in")
    judgement = judge({"forward": record("forward", loss(2))}, [golden(1), seen], [])
    assert [i.kind for i in judgement.items] == ["truth"]
    assert judgement.exit_code == 1


def test_conditions_of_expectations() -> None:
    assert holds("cpu+stand-in", FACTS)
    assert not holds("cuda", FACTS)
    assert not holds("cpu+real-vocabulary", FACTS)
    assert not holds("other-model", FACTS)
    assert holds("other-model", replace(FACTS, model="/data/mine"))


@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("stack", "latest", "stack is 'reference' in text.json and 'latest' in ids.json"),
        ("recipe", "mine", "recipe is"),
        ("model_digest", "another", "model_digest is"),
        ("seed", 7, "seed is"),
        ("faults", ("labels",), "faults is"),
        ("versions", {"torch": "1", "trl": "2"}, "versions is {} in text.json and {'torch': '1'"),
    ],
)
def test_records_of_two_runs_are_refused(name: str, other: object, sentence: str) -> None:
    records = {"text": record("text"), "ids": record("ids", **{name: other})}
    with pytest.raises(BadInput, match="different runs") as raised:
        facts_of(records)
    assert sentence in str(raised.value)


def test_a_rung_whose_process_died_belongs_to_its_run_all_the_same() -> None:
    dead = record("text", device_key="", versions={})
    alive = record("ids", versions={"torch": "1"})
    assert facts_of({"text": dead, "ids": alive}).device_key == FACTS.device_key
    with pytest.raises(BadInput, match="model_digest"):
        facts_of(
            {
                "text": replace(dead, provenance=replace(dead.provenance, model_digest="x")),
                "ids": alive,
            }
        )


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
