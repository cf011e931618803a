"""From pairs to findings: causes, the exit code, the headline and the document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.compare.causes import _covered, compare
from harness.judging.compare.comparison import Experiment, Finding
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change
from harness.records.context import TRAINING_FAMILY
from harness.records.recipes import PUBLISHED
from harness.records.record import Record, Verdict
from suites.selftest.comparisons import (
    VERSIONS,
    blocked,
    broken,
    comparison,
    pair,
    record,
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
    # A case is on a side by its first word.
    cases = ("left.right", "right.left")
    same = tuple(pair(f"forward.loss.{case}", Verdict.SAME) for case in cases)
    base = [base[0], *(pair(f"forward.loss.{case}") for case in cases)]
    outcome = comparison(base, experiments=[Experiment(("attention",), same)])
    by_finding = {f.pair.finding: f.cause for f in outcome.findings}
    assert by_finding["forward.loss.left.right"] == "inputs.keyless_rows.left"
    assert by_finding["forward.loss.right.left"] == ""


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


def test_the_first_rung_is_that_of_the_first_finding_that_stands_for_itself() -> None:
    outcome = comparison([pair("inputs.positions"), pair("forward.loss")])
    first, second = outcome.findings
    follows = replace(first, cause="forward.loss")
    assert replace(outcome, findings=(follows, second)).first_rung == "forward"
    assert replace(outcome, findings=(follows,)).first_rung is None


@pytest.mark.parametrize(
    ("blocking", "causes"),
    [
        (broken("forward.loss", "new"), {"forward.loss": "", "forward.gap": "forward.loss"}),
        # What broke on both sides is no difference, and nothing follows from it.
        (broken("forward.loss", "both"), {}),
        (pair("forward.loss", Verdict.SAME), {}),
    ],
)
def test_what_could_not_be_run_follows_from_a_finding_alone(
    blocking: Pair, causes: dict[str, str]
) -> None:
    for side in ("old", "new"):
        missing = pair("forward.gap", Verdict.NOT_RUN, **{side: blocked("forward.loss")})
        outcome = comparison([blocking, missing])
        assert {f.pair.finding: f.cause for f in outcome.findings} == causes
    both = {side: blocked("forward.loss") for side in ("old", "new")}
    outcome = comparison([blocking, pair("forward.gap", Verdict.NOT_RUN, **both)])
    # Once, though it is missing on both.
    assert len(outcome.findings) == len(causes)


LOOSE = Predicate("forward.loss", most=9.0)
KNOWN = Change("x", "t", "torch", "1.9", "2.0", "r", "cost", "e", "a", "v", (LOOSE,))


def sides(old: str, new: str, **changes: object) -> tuple[dict[str, Record], dict[str, Record]]:
    """Records of rung 8 of two models, by family."""
    records = []
    for family, versions in ((old, VERSIONS[0]), (new, VERSIONS[1])):
        here = record("forward", versions)
        place = replace(here.provenance, family=family, **changes)  # type: ignore[arg-type]
        records.append({"forward": replace(here, provenance=place)})
    return records[0], records[1]


@pytest.mark.parametrize(
    ("old", "new", "known"),
    [
        ("gemma3", "gemma3", True),
        ("qwen2_vl", "qwen2_vl", False),
        # Of two families, and of a user's training, which has none, it may be either.
        ("qwen2_vl", "gemma3", True),
        (TRAINING_FAMILY, TRAINING_FAMILY, True),
    ],
)
def test_a_change_of_another_familys_files_is_not_asked(old: str, new: str, known: bool) -> None:
    of_one = replace(KNOWN, families=("gemma3",))
    moved = [pair("forward.loss", gap=1.0)]
    outcome = compare(("a", "b"), sides(old, new), moved, [of_one])
    assert (outcome.findings[0].known == (of_one,)) is known
    named = old if old == new else f"{old} / {new}"
    assert outcome.facts["family"] == named


def test_a_comparison_says_what_it_was_of() -> None:
    old, new = sides("qwen2_vl", "qwen2_vl", seed=3)
    old = {"forward": replace(old["forward"], seconds=2.0), "update": record("update", VERSIONS[0])}
    outcome = compare(("a", "b"), (old, new), [pair("forward.loss", Verdict.SAME)], [])
    assert outcome.rungs == ("forward",)
    assert outcome.seconds == {"forward": (2.0, 1.0)}
    assert outcome.versions == VERSIONS
    assert outcome.packages == (("torch", "1.9", "2.0"),)
    assert outcome.facts["device_key"] == "cpu-x"
    # A rung that one side alone has is missing, asked for or not; one that neither has only
    # where it was asked for.
    assert [(m.rung, m.sides) for m in outcome.missing] == [("update", ("NEW",))]
    assert outcome.missing[0].reason == "NEW left no record of it"
    asked = compare(
        ("a", "b"), (old, new), [pair("forward.loss", Verdict.SAME)], [], wanted=("forward", "cost")
    )
    assert [(m.rung, m.sides) for m in asked.missing] == [("cost", ("OLD", "NEW"))]
    assert (outcome.exit_code, asked.exit_code) == (3, 3)
    turned = compare(("a", "b"), (new, old), [pair("forward.loss", Verdict.SAME)], [])
    assert turned.rungs == ("forward",)
    assert [(m.rung, m.sides) for m in turned.missing] == [("update", ("OLD",))]
    whole = compare(("a", "b"), (new, new), [pair("forward.loss", Verdict.SAME)], [])
    assert (whole.missing, whole.exit_code) == ((), 0)
    # A side of which every rung died names nothing, and the other one is still named.
    lone = compare(("a", "b"), (old, {}), [], [])
    assert lone.facts["family"] == "qwen2_vl"
    assert lone.versions == (VERSIONS[0], {})
    assert lone.rungs == ()


@pytest.mark.parametrize(
    ("own", "known", "follow", "lost", "sentence"),
    [
        (1, 0, 0, 0, "2 values compared, 1 finding, first at forward, 0 known, 1 unknown."),
        (2, 0, 0, 0, "3 values compared, 2 findings, first at forward, 0 known, 2 unknown."),
        (2, 1, 0, 0, "first at forward, 1 known, 1 unknown."),
        (1, 0, 1, 0, "1 finding, first at forward, 1 follow from them, 0 known, 1 unknown."),
        (1, 0, 0, 2, "first at forward, 0 known, 1 unknown, 2 not compared."),
        (0, 0, 0, 1, "1 values compared, 1 not compared."),
        (0, 0, 0, 0, "1 values compared, all the same."),
    ],
)
def test_the_headline_of_a_comparison_counts_what_there_is(
    own: int, known: int, follow: int, lost: int, sentence: str
) -> None:
    pairs = [pair("ids.x", Verdict.SAME)]
    pairs += [pair(f"forward.m{i}", gap=1.0) for i in range(own)]
    pairs += [
        pair(f"update.f{i}", Verdict.NOT_RUN, new=blocked("forward.m0")) for i in range(follow)
    ]
    pairs += [pair(f"cost.l{i}", Verdict.NOT_COMPARABLE) for i in range(lost)]
    changes = [replace(KNOWN, when=(Predicate(f"forward.m{i}", most=9.0),)) for i in range(known)]
    outcome = comparison(pairs, changes=changes)
    where = "a → b on cpu-x, model stand-in, data catalogue, recipe r: "
    assert outcome.headline.startswith(where)
    assert outcome.headline.endswith(sentence)
    assert outcome.compared == 1 + own
    assert len(outcome.own) == own


def test_what_is_broken_on_both_sides_and_accepted_raises_nothing_and_is_said() -> None:
    pairs = [broken("forward.loss", "both"), pair("update.loss", Verdict.SAME)]
    assert (comparison(pairs).exit_code, len(comparison(pairs).lost)) == (3, 1)
    outcome = comparison(pairs, accepted=frozenset({"forward.loss"}))
    assert (outcome.exit_code, outcome.lost, outcome.stale_accepts) == (0, (), ())
    assert outcome.headline.endswith(": 2 values compared, 1 broken on both sides and accepted.")


@pytest.mark.parametrize(
    ("severities", "worst"),
    [
        (("cost",), "cost"),
        (("cosmetic", "cost"), "cost"),
        (("cost", "crash", "cosmetic"), "crash"),
        (("crash", "wrong training"), "wrong training"),
        ((), "unknown"),
    ],
)
def test_of_several_changes_the_worst_counts(severities: tuple[str, ...], worst: str) -> None:
    known = tuple(replace(KNOWN, severity=severity) for severity in severities)
    finding = Finding(pair("forward.loss"), known=known)
    assert finding.severity == worst
    assert finding.is_unknown is (not known)
    assert not replace(finding, cause="ids.x").is_unknown


@pytest.mark.parametrize(
    ("changes", "red"),
    [
        ({}, True),
        ({"accepted": True}, False),
        ({"covered": True}, False),
        ({"cause": "ids.x"}, True),
        ({"pair": pair("forward.loss", Verdict.IMPROVED)}, False),
        ({"pair": pair("forward.loss", Verdict.NOT_RUN)}, False),
        ({"pair": pair("forward.loss", Verdict.WORSE)}, True),
    ],
)
def test_what_raises_the_exit_code(changes: dict[str, object], red: bool) -> None:
    finding = replace(Finding(pair("forward.loss")), **changes)  # type: ignore[arg-type]
    assert finding.is_red is red


def test_nothing_compared_is_said_and_nothing_else() -> None:
    for pairs in ([], [pair("forward.record", Verdict.NOT_COMPARABLE)]):
        assert comparison(pairs).headline.endswith(", recipe r: nothing was compared.")


def test_what_follows_in_a_circle_is_covered_by_nothing() -> None:
    """Two findings that say they follow from one another: each is judged by itself."""
    one = Finding(pair("forward.a"), cause="forward.b")
    other = Finding(pair("forward.b"), cause="forward.a")
    assert not _covered(one, [one, other])
    assert not _covered(other, [one, other])
    # Through others up to the root, which is judged.
    root = Finding(pair("forward.b"))
    chain = [root, one, Finding(pair("forward.c"), cause="forward.a")]
    assert _covered(chain[2], chain)
    assert not _covered(root, chain)
    assert not _covered(Finding(pair("forward.d"), cause="forward.gone"), chain)


def test_an_experiment_without_the_finding_hides_none_after_it() -> None:
    """What was given at a later rung says nothing of an earlier one, and the next is asked."""
    base = [pair("images.levels"), pair("inputs.positions"), pair("forward.loss")]
    without = Experiment(("images",), (pair("update.loss", Verdict.SAME),))
    later = Experiment(("update",), (pair("forward.loss", Verdict.SAME),))
    last = Experiment(("inputs",), (pair("forward.loss", Verdict.SAME),))
    outcome = comparison(
        base, experiments=[without, later, last], rungs=("images", "inputs", "forward")
    )
    by_finding = {f.pair.finding: f.cause for f in outcome.findings}
    assert by_finding["forward.loss"] == "inputs.positions"


def test_where_the_value_itself_is_no_metric_the_rungs_first_finding_stands_for_it() -> None:
    """The inputs were handed over and their positions are the same: what moved there first."""
    base = [pair("inputs.mask_gap"), pair("inputs.patch_gap"), pair("forward.loss")]
    trial = Experiment(("inputs",), (pair("forward.loss", Verdict.SAME),))
    by_finding = {f.pair.finding: f.cause for f in comparison(base, experiments=[trial]).findings}
    assert by_finding["forward.loss"] == "inputs.mask_gap"


def test_all_that_was_given_besides_is_named() -> None:
    given = ("text", "images", "inputs")
    trial = Experiment(given, (pair("forward.loss", Verdict.SAME),))
    outcome = comparison([pair("inputs.positions"), pair("forward.loss")], experiments=[trial])
    note = outcome.findings[1].cause_note
    assert note == "vanishes when NEW is given OLD's inputs besides text, images"


def test_what_follows_from_something_accepted_is_accepted_whatever_that_follows_from() -> None:
    root = Finding(pair("ids.x", Verdict.IMPROVED))
    middle = Finding(pair("inputs.x"), cause="ids.x")
    last = Finding(pair("forward.x"), cause="inputs.x")
    assert not _covered(last, [root, middle, last])
    accepted = replace(middle, accepted=True)
    assert _covered(last, [root, accepted, last])
    # Of what stands before what is accepted nobody has said anything.
    assert not _covered(accepted, [root, accepted, last])


def test_what_is_accepted_and_the_same_on_both_sides_is_stale() -> None:
    pairs = [pair("ids.x", Verdict.SAME), pair("forward.x"), broken("update.x", "both")]
    names = frozenset({"ids.x", "forward.x", "update.x"})
    assert comparison(pairs, accepted=names).stale_accepts == ("ids.x",)
