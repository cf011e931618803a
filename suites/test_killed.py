"""The lane's measurement of a killed process and of the training gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.measuring.lane import killed, several
from harness.records.seals import read_sealed

WORDS = ["--device", "cpu", "--model", "stand-in", "--micro", "2", "--size", "1", "--steps", "3"]


def test_the_largest_gap_of_losses_is_relative() -> None:
    assert killed.gap([2.0, 4.0], [2.0, 4.1]) == pytest.approx(0.025)
    with pytest.raises(HarnessError, match="1 steps were trained where 2 are wanted"):
        killed.gap([2.0, 4.0], [2.0])


def test_processes_are_told_by_their_rank() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
        env={**os.environ, "RANK": "7"},
        stdout=subprocess.PIPE,
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()  # before it, the variables may not be there
            assert killed.ranks_of(os.getpid()).get(7) == child.pid
        finally:
            child.kill()


def test_a_training_that_fails_is_said_with_its_words(tmp_path: Path) -> None:
    given = several.spec_of([*WORDS, "--out", str(tmp_path)])
    (tmp_path / "spec.json").write_text("{}")
    child = killed.begun("one", 1, tmp_path, given.device)
    with pytest.raises(HarnessError, match="ended with 2: error: "):
        killed.ended(child, tmp_path, 120)


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_same_losses(tmp_path: Path) -> None:
    assert killed.main([*WORDS, "--out", str(tmp_path)]) == 0
    record = read_sealed(tmp_path / "killed.json", "measure again")
    assert record["equal"] is True
    assert len(record["losses"]) == 3
    assert set(record["resumed"]) == {"1", "2"}
    assert record["death"]["exit"] != 0
    (printed,) = record["death"]["says"]
    assert "the same command goes on from" in printed
    assert record["death"]["seconds"] <= 60
