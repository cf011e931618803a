"""`harness compare` on the installed stack itself: silent, resumable, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.records.files import read_json

WORDS = ["compare", "current", "current", "--rungs", "text,labels"]


@pytest.mark.slow
def test_a_stack_against_itself_is_silent_and_resumed_by_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "comparison"
    assert main([*WORDS, "--out", str(out)]) == 0
    document = read_json(out / "comparison.json")
    assert document["findings"] == []
    assert document["counts"]["SAME"] > 20
    assert (out / "report.html").is_file()
    kept, again = out / "old" / "text.json", out / "new" / "labels.json"
    before = kept.stat().st_mtime_ns
    again.unlink()
    assert main([*WORDS, "--resume", str(out)]) == 0
    assert again.is_file()
    assert kept.stat().st_mtime_ns == before


@pytest.mark.slow
def test_an_interrupt_keeps_finished_rungs_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "comparison"

    def interrupt(self: object) -> None:
        if (out / "old" / "text.json").is_file():
            raise KeyboardInterrupt

    monkeypatch.setattr("harness.judging.report.upgrade.ladder.LadderView.tick", interrupt)
    assert main([*WORDS, "--out", str(out)]) == 130
    assert (out / "old" / "text.json").is_file()
    assert f"harness compare current current --resume {out}" in capsys.readouterr().err
