"""Releases that do not fit explain what breaks there, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.compare.causes import MISMATCH
from harness.judging.compare.comparison import Experiment
from harness.judging.compare.document import document_of, to_json
from harness.judging.compare.pairs import Pair, Side
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.view import groups
from harness.records.record import Status, Verdict
from suites.selftest.comparisons import (
    MEETING,
    blocked,
    broken,
    comparison,
    failed,
    pair,
)

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
        (("s", "s"), ("run/", "x/run/"), ("run/ (s)", "x/run/ (s)")),
        (("s", "s"), ("y/x/run/", "x/run/"), ("y/x/run/ (s)", "x/run/ (s)")),
        (
            ("reference,transformers==4.49.0", "latest,torch==2.8.0,trl==1.6.0,peft==0.17.0,x==1"),
            ("reference,transformers==4.49.0", "latest,torch==2.8.0,trl==1.6.0,peft==0.17.0,x==1"),
            ("reference,transformers==4.49.0", "latest with 4 requirements"),
        ),
        # A short one stays whole, however many requirements it has.
        (
            ("latest", "latest,a==1,b==2"),
            ("latest", "latest,a==1,b==2"),
            ("latest", "latest,a==1,b==2"),
        ),
        # Forty letters are short, forty-one are long.
        (
            ("latest", "latest,a==1,bbbbbbbbbbbbbbbbbbbbbb==2.0.0"),
            ("latest", "latest,a==1,bbbbbbbbbbbbbbbbbbbbbb==2.0.0"),
            ("latest", "latest with 2 requirements"),
        ),
        (
            ("latest", "latest,a==1,bbbbbbbbbbbbbbbbbbbbb==2.0.0"),
            ("latest", "latest,a==1,bbbbbbbbbbbbbbbbbbbbb==2.0.0"),
            ("latest", "latest,a==1,bbbbbbbbbbbbbbbbbbbbb==2.0.0"),
        ),
        (
            ("s", "python:/envs/new/bin/python#0123456789ab"),
            ("s", "python:/x"),
            ("s", "python:/envs/new/bin/python#0123456789ab"),
        ),
        (
            ("s", "python:/envs/new/bin/python#0123456789abc"),
            ("s", "python:/x"),
            ("s", "python:new/bin/python#012345"),
        ),
        # Three parts of a path are its end; two of an address.
        (
            ("s", "python:/a-rather-long-folder/bin/python#c94628a2d401818f"),
            ("s", "python:/x"),
            ("s", "python:/a-rather-long-folder/bin/python#c94628a2d401818f"),
        ),
        (
            (
                "python:/home/anyone/work/envs/old/bin/python#c94628a2d401818f",
                "python:/home/anyone/work/envs/new/bin/python#2ebfde1b4411127f",
            ),
            ("python:/home/anyone/work/envs/old/bin/python", "python:new/bin/python"),
            ("python:old/bin/python#c94628", "python:new/bin/python#2ebfde"),
        ),
        (
            ("latest", "latest,trl @ git+https://example.org/someone/trl@a-branch-with-a-name"),
            ("latest", "latest,trl @ git+https://example.org/someone/trl@a-branch-with-a-name"),
            ("latest", "latest,trl @ someone/trl@a-branch-with-a-name"),
        ),
    ],
)
def test_a_headline_has_short_names_that_tell_the_sides_apart(
    stacks: tuple[str, str], given: tuple[str, str], names: tuple[str, str]
) -> None:
    one = comparison([pair("forward.loss")])
    assert replace(one, old=stacks[0], new=stacks[1], given=given).names == names


def test_only_what_the_environment_says_does_not_fit_explains_a_probe_that_broke() -> None:
    """The same words in a warning are no statement about what is installed."""
    crash = broken("interface.probe", "new", "ImportError: No m (transformers/x.py:1)", MEETING)
    warned = replace(mismatched(), finding="interface.warnings.load", rung="interface")
    warned = replace(warned, metric="warnings", case="load")
    outcome = comparison([crash, warned], rungs=("interface",))
    assert {f.pair.finding: f.cause for f in outcome.findings} == {
        "interface.probe": "",
        "interface.warnings.load": "",
    }
    # On the other side it is no reason either.
    back = mismatched()
    back = replace(back, old=back.new, new=back.old)
    outcome = comparison([back, crash], rungs=("environment", "interface"))
    assert {f.cause for f in outcome.findings} == {""}


def test_of_two_whole_probes_one_error_is_the_same_where_the_same_does_not_fit() -> None:
    """A value's error does not say what does not fit around it, so it is not told by that."""
    error = "ValueError: no (x.py:1)"

    def causes(*names: str) -> list[str]:
        pairs = [broken(names[0], "new", error, MEETING), broken(names[1], "new", error)]
        outcome = comparison(pairs, rungs=("forward", "backward"))
        return [finding.cause for finding in outcome.findings]

    assert causes("forward.probe", "backward.probe") == ["", ""]
    assert causes("forward.loss", "forward.loss_gap") == ["", "forward.loss"]


@pytest.mark.parametrize(
    ("findings", "cause"),
    [
        (("ids.encoded", "labels.recipe", "update.loss"), "ids.encoded"),
        (("labels.recipe", "update.loss"), "labels.recipe"),
        (("images.levels", "inputs.positions", "update.loss"), "images.levels"),
        # What is no data stands for no batch.
        (("inputs.positions", "update.loss"), ""),
    ],
)
def test_whole_batches_stand_for_what_of_the_data_moved_first(
    findings: tuple[str, ...], cause: str
) -> None:
    trial = Experiment(("batches",), (pair("update.loss", Verdict.SAME),))
    outcome = comparison([pair(name) for name in findings], experiments=[trial])
    (last,) = (f for f in outcome.findings if f.pair.finding == "update.loss")
    assert last.cause == cause
    assert last.cause_note == "vanishes when NEW is given OLD's batches"


def test_a_value_that_broke_where_releases_do_not_fit_stands_for_itself() -> None:
    """A whole probe or an import breaks on a package; a single value may break for any reason."""
    words = "ImportError: No m (transformers/x.py:1)"
    crashes = [broken("forward.loss", "new", words, MEETING)]
    crashes += [broken("environment.imports.trl", "new", words, MEETING)]
    crashes += [broken("interface.probe", "new", words, MEETING)]
    rungs = ("environment", "interface", "forward")
    outcome = comparison([mismatched(), *crashes], rungs=rungs)
    assert {f.pair.finding: f.cause for f in outcome.findings} == {
        MISMATCH: "",
        "environment.imports.trl": MISMATCH,
        "interface.probe": MISMATCH,
        "forward.loss": "",
    }
