"""An audit that is kept: one process at a time, whole or not there, never in CI; what cannot be
kept or compared is refused before anything is measured."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.audit.golden import keep, read
from harness.judging.audit.judge import judge
from harness.records.audit import Check
from suites.commands import Command
from suites.reliability.counts import count
from suites.reliability.damage import flip
from suites.reliability.killed import CONTEXT, kill_after, strays
from suites.selftest.test_audit_judge import audit_of

pytestmark = pytest.mark.usefixtures("no_variables")

AUDIT = audit_of(Check("labels", "padding_trained", value=0, truth=0))


def kept(path: Path, reason: str) -> None:
    keep(AUDIT, judge(AUDIT), path, reason)


def test_an_audit_is_not_kept_in_ci(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would make itself pass."""
    monkeypatch.setenv("CI", "1")
    ended = harness("audit", __file__, "--keep", "--golden", tmp_path, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "not written in CI" in ended.sentence
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_or_compared_is_refused_first(harness: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "out"
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        ended = harness("audit", __file__, "--keep", "--golden", folder, "--out", out)
        assert ended.code == 2
        assert "cannot be written" in ended.sentence
        assert "--golden" in ended.sentence or "file is no folder" in ended.sentence
    golden = tmp_path / f"{Path(__file__).stem}.json"
    kept(golden, "")
    flip(golden, golden.read_bytes().index(b"padding_trained"))
    ended = harness("audit", __file__, "--golden", tmp_path, "--out", out)
    assert ended.code == 2
    assert golden.name in ended.sentence
    assert not out.exists()


def _keep_many(number: int, path: Path, times: int) -> None:
    """Each until it is kept: on a busy machine one waits for longer than a user would, and is told
    to give the command again."""
    for i in range(times):
        while True:
            try:
                kept(path, f"{number}-{i}")
            except BadInput as error:
                if "give the command again" not in str(error):
                    raise
            else:
                break


@pytest.mark.slow
def test_eight_processes_keep_without_losing_a_reason(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    path, times = tmp_path / "train.json", count(5, 100)
    with CONTEXT.Pool(8) as pool:
        pool.starmap(_keep_many, [(number, path, times) for number in range(8)])
    texts = [reason.text for reason in read(path).reasons]
    assert len(texts) == 8 * times
    assert set(texts) == {f"{number}-{i}" for number in range(8) for i in range(times)}
    assert [p.name for p in tmp_path.iterdir()] == ["train.json"]
    tried(8 * times)


@pytest.mark.slow
def test_a_killed_keeper_leaves_a_whole_golden(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    path, dice = tmp_path / "train.json", random.Random(29)
    kept(path, "")
    for number in range(count(20, 200)):
        before = len(read(path).reasons)
        kill_after(lambda: kept(path, "again"), dice.random() * 0.05)
        assert len(read(path).reasons) >= before
        kept(path, "after")
        assert strays(tmp_path) == []
        assert [p.name for p in tmp_path.iterdir()] == ["train.json"]
        tried(1)
        if number % 20 == 19:
            path.unlink()
            kept(path, "")
    with pytest.raises(BadInput, match="--reason"):
        kept(path, "")
