"""A kept audit, and what has moved since: facts by hand, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from harness.cli import main
from harness.errors import BadInput, Damaged
from harness.judging.audit.golden import Move, compare, golden_path, keep, read
from harness.judging.audit.judge import judge
from harness.judging.report.audit.kept import golden_lines, since_kept
from harness.records.audit import Audit, Basis, Check, Relation
from suites.selftest.test_audit_judge import audit_of

RATE = Check("update", "learning_rate", value=1e-4, truth=1e-4, tolerance=1e-13)
PADS = Check("labels", "padding_trained", value=0, truth=0)
NORM = Check("update", "gradient_norm", value=[7.0, 9.0], relation=Relation.RECORDED)
STEP = Check("update", "adamw", value=0.2, truth=1.0, relation=Relation.AT_MOST)
TIME = Check("cost", "data_seconds", value=0.3, relation=Relation.RECORDED, unit="s")


def moved_after(tmp_path: Path, before: Audit, after: Audit) -> list[tuple[str, Move]]:
    """What a later audit's judgement names, after the first was kept."""
    path = tmp_path / "train.json"
    keep(before, judge(before), path, "")
    return [(m.finding, m.move) for m in compare(after, judge(after), path).moved]


def test_the_same_audit_has_not_moved(tmp_path: Path) -> None:
    audit = audit_of(PADS, RATE, NORM, STEP, TIME)
    keep(audit, judge(audit), tmp_path / "train.json", "")
    against = compare(audit, judge(audit), tmp_path / "train.json")
    assert against.moved == ()
    assert against.compared == 4  # seconds are not kept
    assert against.exit_code == 0
    assert "as kept in" in golden_lines(against)[0]


@pytest.mark.parametrize(
    ("was", "now", "moves"),
    [
        (PADS, replace(PADS, value=1), True),  # whole numbers are exact
        (NORM, replace(NORM, value=[7.001, 9.0]), False),  # 1.4e-4 of a norm is rounding
        (NORM, replace(NORM, value=[7.1, 9.0]), True),  # 1.4e-2 is not
        (STEP, replace(STEP, value=0.9), False),  # below its bound noise is free
        (STEP, replace(STEP, value=1.1), True),
        (RATE, replace(RATE, value=2e-4, truth=2e-4), True),  # right, and another training
        (TIME, replace(TIME, value=9.0), False),
        (RATE, replace(RATE, basis=Basis.DECLARED), False),
    ],
)
def test_moved(tmp_path: Path, was: Check, now: Check, moves: bool) -> None:
    moved = moved_after(tmp_path, audit_of(was), audit_of(now))
    assert moved == ([(was.finding_id, Move.MOVED)] if moves else [])


def test_what_is_gone_is_red_and_what_is_new_is_not(tmp_path: Path) -> None:
    before, after = audit_of(PADS, RATE), audit_of(RATE, STEP)
    path = tmp_path / "train.json"
    keep(before, judge(before), path, "")
    against = compare(after, judge(after), path)
    assert {(m.finding, m.move) for m in against.moved} == {
        ("labels.padding_trained", Move.GONE),
        ("update.adamw", Move.NEW),
    }
    assert against.exit_code == 1
    only_new = compare(audit_of(PADS, RATE, STEP), judge(audit_of(PADS, RATE, STEP)), path)
    assert only_new.exit_code == 0


def test_another_device_is_not_compared(tmp_path: Path) -> None:
    audit = audit_of(PADS)
    path = tmp_path / "train.json"
    keep(audit, judge(audit), path, "")
    there = replace(audit, opened=replace(audit.opened, device="cuda:0"))
    against = compare(there, judge(there), path)
    assert against.apart == ("device was cpu, is cuda",)
    assert against.exit_code == 3
    assert since_kept(against).apart == ("device was cpu, is cuda",)


def test_what_changed_is_said_beside_what_moved(tmp_path: Path) -> None:
    audit = audit_of(RATE)
    path = tmp_path / "train.json"
    keep(audit, judge(audit), path, "")
    after = audit_of(replace(RATE, value=2e-4))
    after = replace(
        after, digest="1" * 64, opened=replace(after.opened, versions={"transformers": "5.0"})
    )
    lines = golden_lines(compare(after, judge(after), path))
    assert lines[1:] == [
        "  ≠ update.learning_rate was 0.0001, is 0.0002",
        "  changed: train.py was edited",
        "  changed: transformers absent → 5.0",
    ]


def test_keeping_again_needs_a_reason_and_keeps_the_first(tmp_path: Path) -> None:
    audit = audit_of(PADS)
    path = tmp_path / "golden" / "audits" / "train.json"
    keep(audit, judge(audit), path, "")
    with pytest.raises(BadInput, match="--reason TEXT"):
        keep(audit, judge(audit), path, "")
    keep(audit, judge(audit), path, "other rows")
    assert [reason.text for reason in read(path).reasons] == ["first kept", "other rows"]


def test_an_audit_with_a_rung_missing_is_not_kept(tmp_path: Path) -> None:
    audit = audit_of(PADS, missing={"update": "It died."})
    with pytest.raises(BadInput, match="update has no result"):
        keep(audit, judge(audit), tmp_path / "train.json", "")


def test_an_edited_golden_is_refused(tmp_path: Path) -> None:
    audit = audit_of(PADS)
    path = tmp_path / "train.json"
    keep(audit, judge(audit), path, "")
    path.write_text(path.read_text().replace('"value": 0', '"value": 1'))
    with pytest.raises(Damaged):
        compare(audit, judge(audit), path)


def test_its_place(tmp_path: Path) -> None:
    training = Path("/project/train.py")
    assert golden_path(training, "", None) == Path("/project/golden/audits/train.json")
    assert golden_path(training, "small", tmp_path) == tmp_path / "train.small.json"


def run_audit(audit: Audit, tmp_path: Path, *words: str) -> int:
    """`harness audit` over a file, with what its environment would have measured."""
    training = tmp_path / "train.py"
    training.write_text("trainer.train()\n")
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    with mock.patch("harness.commands.audit.ask", return_value=audit):
        return main(["audit", str(training), "--out", str(out), *words])


def test_the_command_keeps_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kept; the same again is 0; moved is 1 and named; kept anew with a reason, 0 again."""
    before, after = audit_of(RATE), audit_of(replace(RATE, value=2e-4, truth=2e-4))
    golden = tmp_path / "golden" / "audits" / "train.json"
    assert run_audit(before, tmp_path, "--keep") == 0
    assert golden.is_file()
    assert run_audit(before, tmp_path) == 0
    assert run_audit(after, tmp_path) == 1
    streams = capsys.readouterr()
    assert "update.learning_rate was 0.0001, is 0.0002" in streams.out + streams.err
    pages = "".join(page.read_text("utf-8") for page in tmp_path.glob("out-*/report.html"))
    assert "1 of 1 checks moved since" in pages
    assert run_audit(after, tmp_path, "--keep") == 2
    assert run_audit(after, tmp_path, "--keep", "--reason", "a higher rate") == 0
    assert [reason.text for reason in read(golden).reasons] == ["first kept", "a higher rate"]
    assert run_audit(after, tmp_path) == 0
    assert run_audit(before, tmp_path) == 1


def test_the_command_takes_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    assert run_audit(audit_of(RATE), tmp_path, "--keep", "--golden", str(folder)) == 0
    assert (folder / "train.json").is_file()
    assert run_audit(audit_of(RATE), tmp_path, "--reason", "why") == 2
