"""The main job itself, killed and resumed: nothing is lost, nothing is measured by two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.context import Context
from harness.errors import BadInput
from harness.record import Record, read_json, read_records, to_json
from harness.runner import forget_dead_rungs, measure

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 900.0


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *map(str, words)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def when(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)


def lasting(records: Mapping[str, Record], folder: Path) -> dict[str, Any]:
    """The records without times, and without the folder that their notes may name."""
    kept = {}
    for rung, record in records.items():
        raw = to_json(replace(record, seconds=0.0))
        raw["metrics"] = [m for m in raw["metrics"] if not m["volatile"]]
        # Someone may edit the tree while this test runs; the numbers do not depend on it.
        for word in ("created", "commit"):
            raw["provenance"].pop(word)
        kept[rung] = {k: str(v).replace(str(folder), "OUT") for k, v in raw.items()}
    return kept


@pytest.mark.slow
def test_a_run_killed_at_three_places_leaves_the_records_of_one_that_was_not(
    context: Context, tmp_path: Path
) -> None:
    """SIGKILL while the ladder is measured, SIGKILL in the training, SIGINT in the generation."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = start("--out", whole, "--max-steps", "12")
    assert uninterrupted.wait(LIMIT_S) in {0, 1, 3}

    at = killed / "work" / "current.json"
    progress = killed / "training" / "progress.json"
    places: list[tuple[int, Callable[[], bool]]] = [
        (signal.SIGKILL, lambda: (killed / "ids.json").is_file()),
        (signal.SIGKILL, lambda: progress.is_file() and read_json(progress)["step"] >= 7),
        (signal.SIGINT, lambda: at.is_file() and read_json(at)["rung"] == "generation"),
    ]
    process = start("--out", killed, "--max-steps", "12")
    for number, reached in places:
        when(reached, process)
        process.send_signal(number)
        _, words = process.communicate(timeout=120)
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert f"--resume {killed}" in words
        process = start("--resume", killed)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == uninterrupted.returncode
    assert (killed / "report.html").is_file()
    records = read_records(killed)
    assert len(records) == 14
    assert lasting(records, killed) == lasting(read_records(whole), whole)


def test_two_processes_never_measure_into_one_folder(context: Context, tmp_path: Path) -> None:
    mine = replace(context, out=tmp_path)
    (tmp_path / "work").mkdir()
    with (
        FileLock(tmp_path / "work" / "lock"),
        pytest.raises(BadInput, match="Another process is measuring into"),
    ):
        measure(mine, ["text"], lock_s=0.05)


@pytest.mark.slow
def test_a_rung_whose_process_died_is_measured_again_on_resume(
    context: Context, tmp_path: Path
) -> None:
    mine = replace(context, out=tmp_path)
    dead = measure(mine, ["text"], Path("/bin/false"))["text"]
    assert [m.failure.type for m in dead.metrics if m.failure] == ["ChildDied"]
    forget_dead_rungs(tmp_path)
    assert not (tmp_path / "text.json").exists()
    measured = measure(mine, ["text"])["text"]
    forget_dead_rungs(tmp_path)
    assert (tmp_path / "text.json").is_file()
    assert not any(m.failure for m in measured.metrics)
