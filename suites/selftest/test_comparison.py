"""From pairs to findings: causes, the exit code, the headline and the document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.compare.comparison import Experiment
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change
from harness.records.recipes import PUBLISHED
from harness.records.record import Verdict
from suites.selftest.comparisons import (
    blocked,
    broken,
    comparison,
    pair,
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
    assert by_finding["forward.loss"].cause_note.endswith("vanishes when NEW is given OLD's inputs")
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


def test_the_headline_names_a_recipe_that_is_not_the_published_one() -> None:
    plain = comparison([])
    pairs = replace(plain, pairs=(pair("text.rendered", Verdict.SAME),))
    for digest, called in ((PUBLISHED, ""), ("0123456789abcdef", ", recipe 0123456789abcdef")):
        told = replace(pairs, facts={**plain.facts, "recipe": digest}).headline
        assert (", recipe" in told, called in told) == (bool(called), True)
        assert told.endswith("1 values compared, all the same.")
    assert not comparison([pair("text.rendered")]).headline.endswith("all the same.")


def test_each_side_keeps_its_own_name() -> None:
    outcome = comparison([pair("forward.loss")])
    assert (outcome.old, outcome.new) == ("a", "b")
