"""A symptom is known only where its cause moved in the same comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.compare.causes import findings_of
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change, read_register
from harness.records.folders import REGISTER as REGISTER_FOLDER
from harness.records.record import Verdict
from suites.selftest.differences import BY_NAME, CASES, a_case, causes, change, explanation, of
from suites.selftest.test_register_limits import at

SYMPTOMS = [case for case in CASES if not case.values[0].is_own(case.values[1])]
OLD, NEW = {"torch": "1.9"}, {"torch": "2.0"}


def turned(moved: Pair) -> Pair:
    """The same finding, moved the other way."""
    stood = {"fixed": "broke", "broke": "fixed"}.get(moved.standing, moved.standing)
    return replace(moved, old=moved.new, new=moved.old, standing=stood)


@pytest.mark.parametrize(("known", "predicate"), SYMPTOMS)
def test_a_symptom_is_explained_only_where_its_cause_moved(
    known: Change, predicate: Predicate
) -> None:
    symptom = of(predicate, predicate.metric, a_case(predicate.case))
    before, first = {known.library: known.before}, {known.library: known.first}
    family = next(iter(known.families), "")
    assert explanation(symptom, [known], before, first, family, causes(known)) == (known,)
    assert explanation(symptom, [known], before, first, family) == ()
    # Another release's cause is none: of the same name, but not moved as this change moves it.
    other = [replace(moved, finding="forward.other", metric="other") for moved in causes(known)]
    assert explanation(symptom, [known], before, first, family, other) == ()


def cause(symptom: Predicate, *own: Predicate) -> Change:
    return replace(change(*own, symptom), cause=tuple(dict.fromkeys(p.metric for p in own)))


LOSS = Predicate("forward.loss", most=2.0)
POSITIONS = Predicate("inputs.positions", case="left", standing="fixed", old="a", new="b")


def test_a_cause_that_moved_otherwise_explains_nothing() -> None:
    wish = cause(LOSS, POSITIONS)
    loss = at("forward.loss", 1.0, 2.0)
    mended = at("inputs.positions.left", "a", "b", standing="fixed")
    assert explanation(loss, [wish], OLD, NEW, among=[mended]) == (wish,)
    for moved in (
        turned(mended),
        at("inputs.positions.left", "a", "c", standing="fixed"),
        at("inputs.positions.right", "a", "b", standing="fixed"),
        at("inputs.prefill_positions.left", "a", "b", standing="fixed"),
    ):
        assert explanation(loss, [wish], OLD, NEW, among=[moved]) == (), moved.finding
    # On the way back the cause moves back.
    back = at("forward.loss", 2.0, 1.0)
    assert explanation(back, [wish], NEW, OLD, among=[turned(mended)]) == (wish,)
    assert explanation(back, [wish], NEW, OLD, among=[mended]) == ()


def test_of_several_causes_one_is_enough() -> None:
    kept = Predicate("forward.cache_gap", least=1.0, most=3.0)
    wish = cause(LOSS, POSITIONS, kept)
    loss = at("forward.loss", 1.0, 2.0)
    assert explanation(loss, [wish], OLD, NEW, among=[at("forward.cache_gap", 0.0, 2.0)])
    assert not explanation(loss, [wish], OLD, NEW, among=[at("forward.cache_gap", 0.0, 9.0)])


INSIDE = Predicate("forward.loss", verdict="SAME", least=1e-6, most=8e-6, relative=True)
TEXTS = Predicate("generation.chrf", case=r"tuned\.greedy", most=2.0)


def test_a_cause_may_have_moved_inside_its_band_where_the_change_says_so() -> None:
    """By more than rounding: held against a bound of its own, not against the band."""
    text = at("generation.chrf.tuned.greedy", 5.1, 4.7)
    moved = at("forward.loss", 7.332995, 7.332972, verdict=Verdict.SAME)
    known = cause(TEXTS, INSIDE)
    assert explanation(text, [known], OLD, NEW, among=[moved]) == (known,)
    findings = findings_of((moved, text), (), [known], (OLD, NEW))
    assert [(f.pair.finding, f.known) for f in findings] == [(text.finding, (known,))]
    for other in (
        at("forward.loss", 7.332995, 7.332995, verdict=Verdict.SAME),
        at("forward.loss", 7.332995, 7.3329943, verdict=Verdict.SAME),
        at("forward.loss", 7.332995, 7.332972),
        at("forward.plain_loss", 7.332995, 7.332972, verdict=Verdict.SAME),
    ):
        assert explanation(text, [known], OLD, NEW, among=[other]) == (), other.finding
    # A change that says nothing of bands means what differs.
    plain = cause(TEXTS, Predicate("forward.loss", most=2.0))
    assert explanation(text, [plain], OLD, NEW, among=[moved]) == ()


def test_a_librarys_own_words_need_no_cause() -> None:
    warned = Predicate("interface.warnings", line="x is gone", side="added")
    wish = cause(warned, LOSS)
    assert explanation(at("interface.warnings", [], ["x is gone"]), [wish], OLD, NEW) == (wish,)


def test_a_comparison_asks_all_that_moved_in_it() -> None:
    wish = cause(LOSS, POSITIONS)
    loss = at("forward.loss", 1.0, 2.0)
    mended = at("inputs.positions.left", "a", "b", standing="fixed")
    for pairs, unknown in (((mended, loss), []), ((loss,), ["forward.loss"])):
        findings = findings_of(pairs, (), [wish], (OLD, NEW))
        assert [f.pair.finding for f in findings if f.is_unknown] == unknown


@pytest.mark.parametrize(
    ("finding", "old", "new", "release"),
    [
        # The plausible sizes of known changes, planted where their causes stand still.
        ("forward.loss.left", 3.2, 3.25, "4.53.3"),
        ("forward.side_gap", 0.0, 0.05, "4.53.3"),
        ("update.loss.1", 3.2, 3.19, "4.57.6"),
        ("update.gradient_norm", 1.0, 0.995, "4.57.6"),
        ("trajectory.grad_norm.0", 1.0, 0.25, "5.3.0"),
        ("generation.grounding.color", 0.9, 0.45, "4.54.1"),
    ],
)
def test_a_known_size_without_its_cause_is_unknown(
    finding: str, old: float, new: float, release: str
) -> None:
    register = read_register()
    versions = {"transformers": "4.45.1"}, {"transformers": release}
    difference = at(finding, old, new)
    assert explanation(difference, register, *versions, "qwen2_vl") == ()


HEAD = (REGISTER_FOLDER / "rows-without-pictures.toml").read_text("utf-8").split("[[when]]")[0]
LOGITS = '[[when]]\nmetric = "forward.logits"\nmost = 1.0\n'
LOSSES = '[[when]]\nmetric = "forward.loss"\nmost = 1.0\n'
WITHIN = '[[when]]\nmetric = "forward.loss"\nverdict = "SAME"\nmost = 1.0\n'
WORDS = '[[when]]\nmetric = "interface.warnings"\nline = "gone"\n'


@pytest.mark.parametrize(
    ("named", "when", "complaint"),
    [
        ("", LOGITS + LOSSES, r"values of forward\.logits, forward\.loss; say by `cause`"),
        ('cause = ["forward.los"]\n', LOGITS + LOSSES, r"no predicate of its cause forward\.los"),
        # What did not move at all is inside its band, too; what stays in it explains nothing else.
        ('cause = ["forward.loss"]\n', LOGITS + WITHIN, r"forward\.loss.* inside its band.*least"),
        (
            'cause = ["forward.logits"]\n',
            LOGITS + WITHIN + "least = 0.1\n",
            r"forward\.loss.* inside its band.*cause",
        ),
    ],
)
def test_values_of_several_metrics_name_their_cause(
    tmp_path: Path, named: str, when: str, complaint: str
) -> None:
    (tmp_path / "x.toml").write_text(HEAD + named + when, "utf-8")
    with pytest.raises(BadInput, match=rf"x\.toml.*{complaint}"):
        read_register(tmp_path)


@pytest.mark.parametrize("when", [LOGITS, LOGITS + WORDS])
def test_values_of_one_metric_need_no_cause(tmp_path: Path, when: str) -> None:
    (tmp_path / "x.toml").write_text(HEAD + when, "utf-8")
    (known,) = read_register(tmp_path)
    assert known.cause == ()


def test_the_committed_entries_name_their_causes() -> None:
    assert BY_NAME["attention-without-keys"].cause == ("inputs.keyless_rows",)
    assert len(SYMPTOMS) > 100
