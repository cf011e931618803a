"""The main job itself, killed and resumed: nothing is lost, nothing is measured by two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.errors import BadInput
from harness.judging.workers.measure import forget_dead_rungs, measure
from harness.records.context import Context, Scale, context_to_json
from harness.records.files import read_json, write_json
from harness.records.record import Record, read_records, to_json

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 900.0
# State is saved every five steps: a kill loses several, one or none. A step takes 60 ms, Ctrl-C
# a third of a second until the child has it: the places are further apart than that.
SMALL = Scale(max_steps=30, micro_batch=1, accumulation=2, heldout=8, max_new_tokens=24)
KILLED_AT = (3, 12, 21)


def start(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # A shell's background job ignores Ctrl-C, and so would what it starts.
        ["env", "--default-signal=INT", sys.executable, "-m", "harness", "run", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin(context: Context, out: Path) -> subprocess.Popen[str]:
    """The whole command over few products, as one that was stopped before it measured."""
    mine = replace(context, out=out, scale=SMALL)
    write_json(out / "work" / "context.json", context_to_json(mine))
    return start("--resume", out)


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
        # A GPU's libraries keep workspaces for as long as a process lives, whatever ran before.
        process = {"cuda_allocated"}
        raw["metrics"] = [
            m for m in raw["metrics"] if not m["volatile"] and m["name"] not in process
        ]
        # Someone may edit the tree while this test runs; the numbers do not depend on it.
        for word in ("created", "commit"):
            raw["provenance"].pop(word)
        kept[rung] = {k: str(v).replace(str(folder), "OUT") for k, v in raw.items()}
    return kept


def judged_values(folder: Path) -> dict[str, tuple[str, Any]]:
    """Verdict and value of every finding that does not name a time or the run's folder."""
    items = read_json(folder / "run.json")["items"]
    return {i["finding"]: (i["verdict"], str(i["now"]).replace(str(folder), "OUT")) for i in items}


@pytest.fixture(scope="module")
def whole(context: Context, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(folder, exit code) of a run that nobody disturbed."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    out = tmp_path_factory.mktemp("whole") / "run"
    process = begin(context, out)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode in {0, 1, 3}
    return out, process.returncode


def places(out: Path) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Where a run is killed: in the ladder, at three steps of the training, while it writes.

    Ask for the next one after the next process has begun: only what that one wrote counts. One
    killed late has left a step beyond the next place, and a signal in its successor's first
    milliseconds meets no Python yet. One killed in its last step has left nothing to train: its
    successor is killed where it generates.
    """
    at, progress = out / "work" / "current.json", out / "training" / "progress.json"

    def written(path: Path, enough: Callable[[dict[str, Any]], bool]) -> Callable[[], bool]:
        begun = time.time_ns()
        return lambda: (
            path.is_file() and path.stat().st_mtime_ns > begun and enough(read_json(path))
        )

    def generates() -> Callable[[], bool]:
        return written(at, lambda content: content["rung"] == "generation")

    def trains(step: int) -> Callable[[], bool]:
        trained = written(progress, lambda content: content["step"] >= step)
        beyond = generates()
        return lambda: trained() or beyond()

    yield "ladder", lambda: (out / "ids.json").is_file()
    for step in KILLED_AT:
        yield f"step {step}", trains(step)
    yield "generation", generates()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_killed_again_and_again_leaves_the_records_of_one_that_was_not(
    number: signal.Signals, whole: tuple[Path, int], context: Context, tmp_path: Path
) -> None:
    """The whole command: the parent gets the signal, its child goes with it."""
    killed = tmp_path / "killed"
    process = begin(context, killed)
    for place, reached in places(killed):
        when(reached, process)
        process.send_signal(number)
        _, words = process.communicate(timeout=LIMIT_S)
        assert process.returncode == (130 if number == signal.SIGINT else -number), (place, words)
        assert not (killed / "run.json").exists(), place
        if number == signal.SIGINT:
            assert f"--resume {killed}" in words
            assert "Traceback" not in words
        process = start("--resume", killed)
    process.communicate(timeout=LIMIT_S)
    folder, code = whole
    assert process.returncode == code
    assert (killed / "report.html").is_file()
    records = read_records(killed)
    assert len(records) == 14
    assert lasting(records, killed) == lasting(read_records(folder), folder)
    assert judged_values(killed) == judged_values(folder)


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
