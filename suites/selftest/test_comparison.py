"""From pairs to findings: causes, the exit code, the headline and the document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import Lack
from harness.judging.compare.causes import MISMATCH, compare
from harness.judging.compare.comparison import Comparison, Experiment, MissingRung
from harness.judging.compare.document import document_of, read_comparison, to_json, write_comparison
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.register import Change, Predicate
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.view import groups
from harness.records.failure import Failure, Mismatch
from harness.records.record import Metric, Provenance, Record, Status, Verdict

VERSIONS = ({"torch": "1.9", "peft": "0.1"}, {"torch": "2.0", "peft": "0.1"})


def pair(finding: str, verdict: Verdict = Verdict.CHANGED, **changes: object) -> Pair:
    rung, metric = finding.split(".")[:2]
    case = ".".join(finding.split(".")[2:])
    side = Side(Status.OK, 1.0, "measured")
    result = Pair(finding, rung, metric, case, verdict, side, replace(side, value=2.0))
    return replace(result, **changes)  # type: ignore[arg-type]


def failed(text: str, *around: Mismatch) -> Side:
    """A side that broke, from `type: message (where)` and what does not fit around it."""
    kind, rest = text.split(": ", 1)
    message, where = rest.removesuffix(")").rsplit(" (", 1)
    failure = Failure(kind, message, where, around)
    return Side(Status.BROKEN, error=text, failure=failure)


def blocked(finding: str, status: Status | None = Status.NOT_RUN) -> Side:
    return Side(status, error=f"{finding} broke", lack=Lack.FINDING, blocked_by=finding)


def broken(finding: str, side: str, error: str = "E: m (x:1)", *around: Mismatch) -> Pair:
    bad = failed(error, *around)
    sides = (
        {"old": bad}
        if side == "old"
        else {"new": bad}
        if side == "new"
        else {"old": bad, "new": bad}
    )
    return pair(finding, Verdict.BROKEN, broken=side, **sides)


def record(rung: str, versions: dict[str, str]) -> Record:
    place = Provenance("s", "stand-in", "catalogue", "cpu-x", "r", "s", versions, family="qwen2_vl")
    return Record(rung, place, (Metric(rung, "m", value=1),), 1.0)


def comparison(
    pairs: Sequence[Pair],
    *,
    changes: Sequence[Change] = (),
    experiments: Sequence[Experiment] = (),
    accepted: frozenset[str] = frozenset(),
    wanted: Sequence[str] = (),
    rungs: Sequence[str] = ("inputs", "forward", "update"),
) -> Comparison:
    sides = tuple({r: record(r, v) for r in rungs} for v in VERSIONS)
    return compare(
        ("a", "b"),
        (sides[0], sides[1]),
        pairs,
        changes,
        experiments=experiments,
        accepted=accepted,
        wanted=wanted,
    )


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([pair("forward.loss", Verdict.SAME)], 0),
        ([pair("forward.loss", Verdict.IMPROVED)], 0),
        ([pair("forward.loss")], 1),
        ([pair("forward.loss", Verdict.WORSE)], 1),
        ([broken("forward.loss", "new")], 1),
        ([broken("forward.loss", "old")], 1),
        ([broken("forward.loss", "both")], 3),
        ([broken("forward.loss", "both"), pair("update.loss")], 1),
        ([pair("forward.record", Verdict.NOT_COMPARABLE)], 3),
        ([pair("forward.record", Verdict.NOT_COMPARABLE), pair("update.loss", Verdict.SAME)], 3),
        ([], 3),
    ],
)
def test_exit_codes(pairs: list[Pair], code: int) -> None:
    assert comparison(pairs).exit_code == code


def test_accepted_findings_stay_in_the_report_and_stale_ones_are_named() -> None:
    outcome = comparison([pair("forward.loss")], accepted=frozenset({"forward.loss", "ids.gone"}))
    assert outcome.exit_code == 0
    assert [f.accepted for f in outcome.findings] == [True]
    assert outcome.stale_accepts == ("ids.gone",)
    assert "1 finding" in outcome.headline


def test_a_known_change_is_named_and_still_counts() -> None:
    known = Change(
        "x", "t", "torch", "1.9", "2.0", "r", "cost", "e", "a", "v", (Predicate("forward.loss"),)
    )
    outcome = comparison([pair("forward.loss"), pair("update.loss")], changes=[known])
    assert [f.pair.finding for f in outcome.unknown] == ["update.loss"]
    assert outcome.findings[0].severity == "cost"
    assert outcome.exit_code == 1
    assert "1 known, 1 unknown" in outcome.headline


def test_what_vanishes_with_a_given_value_is_folded_under_it() -> None:
    base = [
        pair("inputs.mask_gap"),
        pair("inputs.positions.left"),
        pair("forward.loss"),
        pair("update.loss"),
    ]
    trial = Experiment(
        ("inputs",),
        (
            pair("inputs.positions.left", Verdict.SAME),
            pair("forward.loss", Verdict.SAME),
            pair("update.loss"),
        ),
    )
    by_finding = {f.pair.finding: f for f in comparison(base, experiments=[trial]).findings}
    assert by_finding["forward.loss"].cause == "inputs.positions.left"
    assert "vanishes" in by_finding["forward.loss"].cause_note
    # Giving a rung's value says nothing about that rung's own metrics.
    assert by_finding["inputs.positions.left"].cause == ""
    assert by_finding["update.loss"].cause == ""
    assert by_finding["update.loss"].given == ("inputs",)


def test_a_second_cause_gets_what_only_both_values_make_vanish() -> None:
    base = [pair("images.levels"), pair("inputs.positions"), pair("forward.loss")]
    first = Experiment(("images",), (pair("forward.loss"),))
    second = Experiment(("images", "inputs"), (pair("forward.loss", Verdict.SAME),))
    outcome = comparison(base, experiments=[first, second], rungs=("images", "inputs", "forward"))
    by_finding = {f.pair.finding: f for f in outcome.findings}
    assert by_finding["forward.loss"].cause == "inputs.positions"
    assert "besides images" in by_finding["forward.loss"].cause_note


def test_the_rest_is_what_must_be_explained() -> None:
    rest = pair("forward.loss", gap=0.1)
    trial = Experiment(("inputs",), (rest,))
    known = Change(
        "x",
        "t",
        "torch",
        "1.9",
        "2.0",
        "r",
        "cost",
        "e",
        "a",
        "v",
        (Predicate("forward.loss", most=0.2),),
    )
    base = [pair("inputs.positions"), pair("forward.loss", gap=5.0)]
    findings = comparison(base, changes=[known], experiments=[trial]).findings
    assert findings[1].known == (known,)
    assert comparison(base, changes=[known]).findings[1].known == ()


def test_plain_attention_explains_nothing_where_no_row_lacks_a_key() -> None:
    same = (pair("forward.loss.left", Verdict.SAME), pair("forward.loss.right", Verdict.SAME))
    base = [pair("inputs.keyless_rows.left"), pair("forward.loss.left"), pair("forward.loss.right")]
    outcome = comparison(base, experiments=[Experiment(("attention",), same)])
    by_finding = {f.pair.finding: f.cause for f in outcome.findings}
    assert by_finding["forward.loss.left"] == "inputs.keyless_rows.left"
    assert by_finding["forward.loss.right"] == ""


def test_an_experiment_that_broke_takes_no_explanation_away() -> None:
    trial = Experiment(("inputs",), (broken("forward.loss", "new"),))
    known = Change(
        "x",
        "t",
        "torch",
        "1.9",
        "2.0",
        "r",
        "cost",
        "e",
        "a",
        "v",
        (Predicate("forward.loss", most=9.0),),
    )
    base = [pair("inputs.positions"), pair("forward.loss", gap=5.0)]
    findings = comparison(base, changes=[known], experiments=[trial]).findings
    assert (findings[1].known, findings[1].rest) == ((known,), None)


def test_one_error_is_one_finding_and_what_it_stopped_follows() -> None:
    missing = blocked("forward.loss")
    outcome = comparison(
        [
            broken("forward.loss", "new", "E: gone (a:1)"),
            broken("forward.loss_gap", "new", "E: gone (b:2)"),
            broken("forward.order_gap", "new", "E: other (b:2)"),
            pair("forward.swap_gap", Verdict.NOT_RUN, new=missing),
        ]
    )
    by_finding = {f.pair.finding: f.cause for f in outcome.findings}
    assert by_finding == {
        "forward.loss": "",
        "forward.order_gap": "",
        "forward.loss_gap": "forward.loss",
        "forward.swap_gap": "forward.loss",
    }
    assert outcome.lost == ()


def test_a_stack_that_cannot_run_at_all_is_one_finding() -> None:
    gone = "ImportError: cannot import name 'x' (a.py:1)"
    broken_rungs = [broken(f"{rung}.probe", "new", gone) for rung in ("inputs", "forward")]
    absent = blocked("forward.probe", None)
    outcome = comparison([*broken_rungs, pair("forward.loss", Verdict.NOT_RUN, new=absent)])
    assert [f.pair.finding for f in outcome.own] == ["inputs.probe"]
    assert {f.pair.finding: f.cause for f in outcome.findings} == {
        "inputs.probe": "",
        "forward.probe": "inputs.probe",
        "forward.loss": "forward.probe",
    }
    assert outcome.lost == ()
    assert outcome.exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        # OLD could, on this very machine.
        (None, Lack.CUDA, True),
        (Lack.CUDA, Lack.CUDA, False),
        (Lack.CUDA, None, False),
        (Lack.QUANTISATION, None, False),
        (Lack.LIBRARY, None, True),
        (Lack.OTHER, Lack.OTHER, False),
    ],
)
def test_a_limit_of_the_machine_is_no_lost_measurement(
    old: Lack | None, new: Lack | None, lost: bool
) -> None:
    """Whatever its sentence says."""
    lacks = {side: lack for side, lack in (("old", old), ("new", new)) if lack}
    sides = {
        side: Side(Status.NOT_RUN, error="one sentence", lack=lack) for side, lack in lacks.items()
    }
    outcome = comparison(
        [pair("model.x", Verdict.NOT_RUN, **sides), pair("forward.y", Verdict.SAME)]
    )
    assert bool(outcome.lost) is lost
    assert outcome.exit_code == (3 if lost else 0)


def test_a_rung_without_a_record_is_missing() -> None:
    outcome = comparison([pair("forward.y", Verdict.SAME)], wanted=("forward", "cost"))
    assert outcome.missing == (MissingRung("cost", ("OLD", "NEW")),)
    assert outcome.missing[0].reason == "OLD and NEW left no record of it"
    entry = to_json(document_of(outcome))["missing"][0]
    assert (entry["rung"], entry["sides"]) == ("cost", ("OLD", "NEW"))
    assert outcome.exit_code == 3


def test_the_document_names_findings_and_packages() -> None:
    outcome = comparison([pair("forward.loss", gap=1.0), pair("update.loss", Verdict.SAME)])
    document = json.loads(json.dumps(to_json(document_of(outcome)), allow_nan=False))
    assert document["schema"] == 2
    assert document["packages"] == {"torch": ["1.9", "2.0"]}
    (finding,) = document["findings"]
    assert finding["id"] == "forward.loss"
    assert finding["old"]["value"] == 1.0
    assert finding["new"]["value"] == 2.0
    assert finding["cause"] == ""
    assert finding["severity"] == "unknown"
    assert document["counts"] == {"CHANGED": 1, "SAME": 1}


def test_the_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pairs = [
        pair("inputs.mask_gap", Verdict.NOT_RUN, new=blocked("forward.loss")),
        broken("forward.loss", "new", "E: gone (a:1)", MEETING),
        pair("update.loss", gap=1.0),
    ]
    document = document_of(comparison(pairs, wanted=("forward", "cost")))
    write_comparison(document, tmp_path)
    assert read_comparison(tmp_path) == document
    (blocking,) = (f for f in document.findings if f.id == "inputs.mask_gap")
    assert (blocking.new.lack, blocking.new.blocked_by) == (Lack.FINDING, "forward.loss")


def test_the_first_rung_that_moved_is_named() -> None:
    outcome = comparison([pair("update.loss"), pair("forward.loss")])
    assert outcome.first_rung == "forward"
    assert "first at forward" in outcome.headline


MEETING = Mismatch("transformers", "5.0.0", "torch", "2.4.0", ">=2.6")
MEET = "transformers 5.0.0 and torch 2.4.0 do not work together: transformers asks for torch>=2.6."


def test_a_mismatch_says_itself() -> None:
    assert (MEETING.sentence, MEETING.requirement) == (MEET, "torch>=2.6")


def mismatched() -> Pair:
    pairs = pair(MISMATCH, Verdict.WORSE)
    return replace(pairs, old=replace(pairs.old, value=[]), new=replace(pairs.new, value=[MEET]))


def test_releases_that_do_not_fit_explain_the_probes_that_break_there() -> None:
    by_finding = {
        f.pair.finding: f
        for f in comparison(
            [
                mismatched(),
                broken(
                    "interface.probe", "new", "ImportError: No m (transformers/x.py:1)", MEETING
                ),
                broken("forward.probe", "new", "ValueError: something else (y.py:2)"),
                # Every probe that breaks there says what does not fit, whatever broke it.
                broken("backward.probe", "new", "IndexError: range (datasets/z.py:3)", MEETING),
            ],
            rungs=("environment", "interface", "forward", "backward"),
        ).findings
    }
    (change,) = by_finding[MISMATCH].known
    assert change.severity == "crash"
    assert change.effect == MEET
    assert by_finding["interface.probe"].cause == MISMATCH
    # Another error is another finding, whatever else does not fit there.
    assert by_finding["forward.probe"].is_unknown
    assert by_finding["backward.probe"].is_unknown


def test_who_accepts_that_releases_do_not_fit_has_not_accepted_what_breaks_there() -> None:
    crash = broken("interface.probe", "new", "ImportError: No m (transformers/x.py:1)", MEETING)
    pairs, rungs = [mismatched(), crash], ("environment", "interface")
    outcome = comparison(pairs, rungs=rungs, accepted=frozenset({MISMATCH}))
    assert [f.pair.finding for f in outcome.red] == ["interface.probe"]
    both = frozenset({MISMATCH, "interface.probe"})
    assert comparison(pairs, rungs=rungs, accepted=both).exit_code == 0


def test_errors_that_say_nothing_are_the_same_only_at_the_same_place() -> None:
    one = broken("forward.loss", "new", "AssertionError:  (a:1)")
    same = broken("forward.swap_gap", "new", "AssertionError:  (a:1)")
    other = broken("forward.loss_gap", "new", "AssertionError:  (b:2)")
    by_finding = {f.pair.finding: f.cause for f in comparison([one, same, other]).findings}
    assert by_finding == {
        "forward.loss": "",
        "forward.swap_gap": "forward.loss",
        "forward.loss_gap": "",
    }


def test_a_difference_whose_cause_is_no_finding_stands_for_itself() -> None:
    """What was handed over belongs to the training's batches, the metrics to a few samples."""
    pairs = [pair("images.levels", Verdict.SAME), pair("forward.loss")]
    trial = Experiment(("images",), (pair("forward.loss", Verdict.SAME),))
    outcome = comparison(pairs, experiments=[trial], rungs=("images", "forward"))
    (finding,) = outcome.findings
    assert (finding.cause, finding.is_own, outcome.exit_code) == ("", True, 1)
    assert "OLD's images" in finding.cause_note


@pytest.mark.parametrize(
    ("cause", "accepted", "code"),
    [
        (Verdict.CHANGED, (), 1),
        (Verdict.CHANGED, ("inputs.positions",), 0),
        # An improvement is not red, what follows from it differs all the same.
        (Verdict.IMPROVED, (), 1),
        (Verdict.IMPROVED, ("forward.loss",), 0),
        (Verdict.IMPROVED, ("inputs.positions",), 0),
    ],
)
def test_what_follows_is_red_where_its_cause_is_not_judged(
    cause: Verdict, accepted: tuple[str, ...], code: int
) -> None:
    pairs = [pair("inputs.positions", cause), pair("forward.loss", Verdict.WORSE)]
    trial = Experiment(("inputs",), (pair("forward.loss", Verdict.SAME),))
    outcome = comparison(pairs, experiments=[trial], accepted=frozenset(accepted))
    assert [f.cause for f in outcome.findings] == ["", "inputs.positions"]
    assert outcome.exit_code == code


def test_an_import_that_breaks_on_a_package_that_does_not_fit_follows_from_that() -> None:
    stops = "ImportError: cannot import name 'X' from 'torch.utils.checkpoint' (trl/a.py:1)"
    by_finding = {
        f.pair.finding: f
        for f in comparison(
            [
                broken("environment.bare_pins_import", "new", stops, MEETING),
                broken(
                    "environment.imports.peft", "new", "NameError: n (transformers/x:4)", MEETING
                ),
                broken(
                    "environment.imports.datasets", "new", "ImportError: No dill (a:1)", MEETING
                ),
                broken("environment.imports.trl", "old", stops),
                mismatched(),
            ],
            rungs=("environment",),
        ).findings
    }
    assert by_finding["environment.bare_pins_import"].cause == MISMATCH
    assert by_finding["environment.imports.peft"].cause == MISMATCH
    # Neither what names no package of the pair, nor what breaks where everything fits.
    assert by_finding["environment.imports.datasets"].is_unknown
    assert by_finding["environment.imports.trl"].is_unknown


def test_a_call_that_only_the_side_with_a_whole_probe_made_is_not_compared() -> None:
    probe = broken("interface.probe", "new", "E: m (x:1)")
    gone = blocked("interface.probe", None)
    call = pair("interface.call.x", Verdict.NOT_RUN, old=failed("E: n (y:1)"))
    outcome = comparison([probe, replace(call, new=gone)], rungs=("interface",))
    assert {f.pair.finding: f.cause for f in outcome.findings} == {
        "interface.probe": "",
        "interface.call.x": "interface.probe",
    }
    assert outcome.lost == ()


def test_the_answer_names_the_releases_before_anything_unknown() -> None:
    outcome = comparison([mismatched(), pair("forward.loss")], rungs=("environment", "forward"))
    told = answer(outcome, groups(outcome))
    assert told.tone == "bad"
    assert told.title == "No: these releases do not work together"
    assert told.why == MEET
    # The way back to releases that fit is no obstacle.
    back = mismatched()
    outcome = comparison(
        [replace(back, old=back.new, new=back.old, verdict=Verdict.IMPROVED)],
        rungs=("environment",),
    )
    assert not answer(outcome, groups(outcome)).title.startswith("No")


def test_unknown_warnings_alone_are_no_reason_to_wait() -> None:
    warned = pair("interface.warnings.train")
    warned = replace(
        warned, old=replace(warned.old, value=[]), new=replace(warned.new, value=["new words"])
    )
    outcome = comparison([warned], rungs=("interface",))
    told = answer(outcome, groups(outcome))
    assert outcome.exit_code == 1
    assert told.title == "Yes"
    assert "but some warnings" in told.why
    assert told.todo == ("Read the warnings that came or went: no known change explains them.",)
    outcome = comparison([warned, pair("forward.loss")], rungs=("interface", "forward"))
    assert answer(outcome, groups(outcome)).title.startswith("Not yet")


def test_what_broke_on_both_sides_says_how_and_not_what_was_expected() -> None:
    alike = replace(broken("images.grid.1x1", "both", "E: refused (x:1)"), reason="the rule")
    sides = {"old": Side(Status.BROKEN, error="E: a"), "new": Side(Status.BROKEN, error="F: b")}
    unlike = replace(alike, finding="images.grid.27", **sides)  # type: ignore[arg-type]
    other = pair("forward.record", Verdict.NOT_COMPARABLE, reason="the devices differ")
    reasons = {
        x["id"]: x["reason"]
        for x in to_json(document_of(comparison([alike, unlike, other])))["not_compared"]
    }
    assert reasons == {
        "images.grid.1x1": "both sides: E: refused (x:1)",
        "images.grid.27": "E: a / F: b",
        "forward.record": "the devices differ",
    }


@pytest.mark.parametrize(
    ("stacks", "given", "names"),
    [
        (("reference", "latest"), ("reference", "latest"), ("reference", "latest")),
        (("s", "s"), ("/a/long/way/old/", "/a/long/way/new/"), ("old/ (s)", "new/ (s)")),
        (("s", "s"), ("/one/run/", "/other/run/"), ("one/run/ (s)", "other/run/ (s)")),
        (("s", "s"), ("/run/", "/run/"), ("run/ (s)", "run/ (s)")),
        (
            ("reference,transformers==4.49.0", "latest,torch==2.8.0,trl==1.6.0,peft==0.17.0,x==1"),
            ("reference,transformers==4.49.0", "latest,torch==2.8.0,trl==1.6.0,peft==0.17.0,x==1"),
            ("reference,transformers==4.49.0", "latest with 4 requirements"),
        ),
    ],
)
def test_a_headline_has_short_names_that_tell_the_sides_apart(
    stacks: tuple[str, str], given: tuple[str, str], names: tuple[str, str]
) -> None:
    one = comparison([pair("forward.loss")])
    assert replace(one, old=stacks[0], new=stacks[1], given=given).names == names
