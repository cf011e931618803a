"""The audit's judge, its advice and its lines, without torch: facts by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput, Damaged, HarnessError
from harness.judging.audit.advice import FOLDER, advice_for, filed, shown, worded
from harness.judging.audit.judge import Standing, holds, judge
from harness.judging.audit.lines import Line, line_of
from harness.judging.report.audit.view import three_sentences
from harness.records.audit import (
    Audit,
    Check,
    Opened,
    Relation,
    RungChecks,
    audit_path,
    read_audit,
    write_audit,
)
from harness.records.failure import Failure
from harness.records.record import RUNGS, Status

OPENED = Opened(
    "function", "Trainer", "Model", "qwen2_vl", "", "cpu", 4, {}, (), {}, "3.11", "linux"
)


def audit_of(*checks: Check, source: str = "", missing: dict[str, str] | None = None) -> Audit:
    """An audit of these checks."""
    rungs = tuple(
        RungChecks(rung, tuple(c for c in checks if c.rung == rung))
        for rung in RUNGS
        if any(c.rung == rung for c in checks)
    )
    return Audit(
        "train.py", "", "0" * 64, source, "current", "", "", 2, OPENED, rungs, missing or {}
    )


FINE = Check("labels", "padding_trained", value=0, truth=0)
WRONG = Check("labels", "padding_trained", value=3, truth=0, setting="data_collator")
QUESTION = Check("labels", "prompt_trained_unsaid", value=7, truth=0)


@pytest.mark.parametrize(
    ("value", "truth", "relation", "tolerance", "expected"),
    [
        (3, 3, Relation.EQUAL, 0.0, True),
        (3, 4, Relation.EQUAL, 0.0, False),
        (3.0, 3.5, Relation.EQUAL, 0.5, True),
        (2.9, 3.5, Relation.EQUAL, 0.5, False),
        (4.1, 3.5, Relation.EQUAL, 0.5, False),
        (4, 3, Relation.AT_MOST, 1.0, True),
        (5, 3, Relation.AT_MOST, 1.0, False),
        (-9, 3, Relation.AT_MOST, 0.0, True),
        (2, 3, Relation.AT_LEAST, 1.0, True),
        (1, 3, Relation.AT_LEAST, 1.0, False),
        (99, 3, Relation.AT_LEAST, 0.0, True),
        ([1, 2], [1, 2], Relation.EQUAL, 0.0, True),
        ([1, 2], [1, 2, 3], Relation.EQUAL, 0.0, False),
        ([1, 9], [1, 2], Relation.EQUAL, 0.0, False),
        ({"a": 1}, {"a": 1}, Relation.EQUAL, 0.0, True),
        ({"a": 1}, {"a": 2}, Relation.EQUAL, 0.0, False),
        ({"a": 1}, {"b": 1}, Relation.EQUAL, 0.0, False),
        (True, 1, Relation.EQUAL, 0.0, True),
        (True, False, Relation.EQUAL, 5.0, False),
        ("a", "a", Relation.EQUAL, 0.0, True),
        ("a", "b", Relation.AT_MOST, 0.0, False),
        (None, 0, Relation.AT_MOST, 0.0, False),
        (float("nan"), 0.0, Relation.AT_MOST, 1e9, False),
        (float("inf"), 0.0, Relation.AT_LEAST, 0.0, False),
    ],
)
def test_a_value_holds(
    value: object, truth: object, relation: Relation, tolerance: float, expected: bool
) -> None:
    assert holds(value, truth, relation, tolerance) is expected  # type: ignore[arg-type]


def test_exit_codes() -> None:
    """1 beats 3; a question is no finding; nothing judged is never 0."""
    broken = Check(
        "labels", "there", status=Status.BROKEN, failure=Failure("ValueError", "no", "a.py:1")
    )
    skipped = Check("labels", "there", status=Status.NOT_RUN, reason="There is no collator.")
    assert judge(audit_of(FINE)).exit_code == 0
    assert judge(audit_of(WRONG)).exit_code == 1
    assert judge(audit_of(broken)).exit_code == 1
    assert judge(audit_of(replace(FINE, case="other"), QUESTION)).exit_code == 0
    assert judge(audit_of(skipped)).exit_code == 3
    assert judge(audit_of(FINE, skipped)).exit_code == 0
    assert judge(audit_of(FINE, missing={"cost": "Its process died."})).exit_code == 3
    assert judge(audit_of(WRONG, missing={"cost": "Its process died."})).exit_code == 1
    assert judge(audit_of()).exit_code == 3


def test_a_question_is_asked_and_not_counted() -> None:
    judgement = judge(audit_of(FINE, QUESTION))
    assert judgement.findings == ()
    assert [item.check for item in judgement.questions] == [QUESTION]


def test_a_symptom_stands_under_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the cause is red itself; it still turns the audit red."""
    cause = replace(filed("labels")["padding_trained"], explains=("labels.prompt_trained",))
    advice = {**filed("labels"), "padding_trained": cause}
    monkeypatch.setattr("harness.judging.audit.advice.filed", lambda rung: advice)
    symptom = Check("labels", "prompt_trained", value=5, truth=0)
    both = judge(audit_of(WRONG, symptom))
    assert [item.check.name for item in both.findings] == ["padding_trained"]
    assert [item.under for item in both.items] == ["", "labels.padding_trained"]
    alone = judge(audit_of(FINE, symptom))
    assert [item.check.name for item in alone.findings] == ["prompt_trained"]


@pytest.mark.parametrize(
    ("source", "setting", "expected"),
    [
        ("a = f(\n    lr=1,\n)\n", "lr", Line(2, "lr=1,")),
        ("a.lr = 3\n", "lr", Line(1, "a.lr = 3")),
        ("lr = 3\n", "SFTConfig.lr", Line(1, "lr = 3")),
        ("f(lr=1)\nf(lr=2)\n", "lr", Line(2, "f(lr=2)")),
        ("a = {'lr': 1}\n", "lr", Line(1, "a = {'lr': 1}")),
        ("def collate(x):\n    return x\n", "collate", Line(1, "def collate(x):")),
        (
            "def collate(x):\n    return x\n\nf(\n    data_collator=collate,\n)\n",
            "data_collator",
            Line(1, "def collate(x):"),
        ),
        ("class C: ...\nf(data_collator=C())\n", "data_collator", Line(1, "class C: ...")),
        ("lrs = 3  # lr\n", "lr", None),
        ("f(\n", "lr", None),
    ],
)
def test_the_line_of_a_setting(source: str, setting: str, expected: Line | None) -> None:
    assert line_of(source, setting) == expected


def test_a_finding_names_the_users_line() -> None:
    source = "Trainer(\n    model,\n    data_collator=collate,\n)\n"
    (item,) = judge(audit_of(WRONG, source=source)).findings
    assert item.line == Line(3, "data_collator=collate,")
    assert judge(audit_of(FINE, source=source)).items[0].line is None


def test_advice_says_the_numbers() -> None:
    assert worded("{value} of {truth}", replace(WRONG, truth=1200)) == "3 of 1,200"
    assert shown(0.1234567, "share") == "12.3 %"
    assert shown([1.5, 2.0], "1") == "1.5, 2"
    assert shown({"user": 12345}, "tokens") == "user 12,345"
    assert shown(True, "1") == "yes"


def test_every_entry_of_the_advice_can_be_worded() -> None:
    """No template names what a check does not have."""
    for path in sorted(FOLDER.glob("*.toml")):
        assert path.stem in RUNGS
        for name, advice in filed(path.stem).items():
            check = Check(path.stem, name, "case", 1, 2, evidence=("row 0",), setting="s")
            for template in (advice.title, advice.fine, advice.effect, advice.change):
                assert worded(template, check)


def test_a_check_without_advice_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"no advice for labels\.unheard_of"):
        advice_for(Check("labels", "unheard_of", value=1))


def test_an_audit_survives_its_file(tmp_path: Path) -> None:
    audit = audit_of(FINE, replace(FINE, case="two"))
    write_audit(audit, audit_path(tmp_path))
    assert read_audit(audit_path(tmp_path)) == audit


def test_a_changed_audit_is_refused(tmp_path: Path) -> None:
    path = write_audit(audit_of(WRONG), audit_path(tmp_path))
    path.write_text(path.read_text("utf-8").replace('"value": 3', '"value": 0'), "utf-8")
    with pytest.raises(Damaged, match="seal is broken"):
        read_audit(path)
    path.write_text("{}", "utf-8")
    with pytest.raises(BadInput):
        read_audit(path)


def test_no_number_that_is_not_finite_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.padding_trained is nan"):
        write_audit(audit_of(replace(FINE, value=float("nan"))), audit_path(tmp_path))


def test_standings_are_told_apart() -> None:
    recorded = Check("labels", "trained_share", value=0.5, relation=Relation.RECORDED)
    judgement = judge(audit_of(FINE, recorded))
    assert [item.standing for item in judgement.items] == [Standing.FINE, Standing.RECORDED]


def test_the_first_sentences_name_roles_in_words() -> None:
    shares = Check("labels", "trained_share", value=0.25, relation=Relation.RECORDED)
    roles = Check(
        "labels",
        "trained_by_role",
        value={"assistant": 3, "control": 1},
        relation=Relation.RECORDED,
    )
    audit = audit_of(shares, roles, FINE)
    learns, wrong, change = three_sentences(audit, judge(audit))
    assert learns == (
        "Your training learns from 25 % of its tokens: of these, 75 % of the assistant's turns, "
        "25 % headers and ends of turns."
    )
    assert (wrong, change) == ("Nothing is wrong: 1 checks hold.", "There is nothing to change.")


def test_a_question_is_asked_and_is_no_change_to_make() -> None:
    audit = audit_of(FINE, QUESTION)
    _, wrong, change = three_sentences(audit, judge(audit))
    assert wrong == "Nothing is wrong: 1 checks hold. Do you mean to train the prompt?"
    assert change.startswith("Nothing, where you mean it; else: Mask them, or say --loss-on all")
