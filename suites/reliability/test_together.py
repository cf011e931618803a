"""One process writes into a run's folder: the lock comes before the first file."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.commands import probe
from harness.errors import BadInput
from harness.judging.goldens.golden import read_golden, write_goldens
from harness.judging.workers import measure as measuring
from harness.judging.workers.measure import DIED, HANGS
from harness.records.alone import alone
from harness.records.context import Context
from harness.records.failure import Failure
from harness.records.files import write_json
from harness.records.record import PROBE, Metric, Provenance, Record, Status, write_record
from harness.records.sets import alone_with
from suites.commands import Command, Ended, process
from suites.reliability.counts import count
from suites.reliability.killed import installed, strays
from suites.reliability.test_goldens import GOLDEN

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone.__wrapped__, "__defaults__", (0.1,))


WHEELS = ["trl", "--good", "1.0", "--bad", "1.1", "--metric", "text.a"]


@pytest.mark.parametrize(
    "verb",
    [
        ["run"],
        ["probe", "environment"],
        ["golden", "check"],
        ["compare", "current", "current"],
        ["bisect", *WHEELS],
        ["audit", __file__],
        ["matrix", "--stack", "current", "--family", "qwen2_vl"],
    ],
    ids=lambda verb: verb[0],
)
def test_a_second_command_writes_nothing(harness: Command, tmp_path: Path, verb: list[str]) -> None:
    """It overwrote work/context.json, and the first could no longer be resumed."""
    out = tmp_path / "out"
    kept = out / "work" / "context.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("the first's")
    with FileLock(out / "work" / "lock"):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        ended = harness(*verb, "--out", out)
        after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert ended.code == 2
    assert "Another process is measuring into" in ended.sentence
    assert after == before


def test_a_second_training_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], context: Context
) -> None:
    """`harness train` into a folder where one is training."""
    from harness.measuring.training.__main__ import main
    from harness.measuring.training.spec import spec_for, spec_to_json

    write_json(tmp_path / "spec.json", spec_to_json(spec_for(context)))
    (tmp_path / "run" / "work").mkdir(parents=True)
    with FileLock(tmp_path / "run" / "work" / "lock"):
        assert main([str(tmp_path / "spec.json"), str(tmp_path / "run")]) == 2
    assert "Another process is measuring into" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "run").rglob("*")] == ["work", "lock"]


def test_a_refusal_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="no"), alone(out):
        raise BadInput("no")
    assert not out.exists()

    def late() -> None:
        with alone(out):
            (out / "text.json").write_text("{}")
            raise BadInput("late")

    with pytest.raises(BadInput, match="late"):
        late()
    assert (out / "text.json").is_file()


@pytest.mark.parametrize("kind", [DIED, HANGS])
def test_a_probe_whose_process_died_is_not_0(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    provenance = Provenance("current", "stand-in", "catalogue", "cpu-x", "r", "s")
    failure = Failure(kind, "signal 9", "log", signal=9)
    dead = Record(
        "text", provenance, (Metric("text", PROBE, status=Status.BROKEN, failure=failure),)
    )
    monkeypatch.setattr(probe, "new_context", lambda *given: None)
    monkeypatch.setattr(probe, "measure", lambda *given, **options: {"text": dead})
    assert harness("probe", "text", "--out", tmp_path / "out").code == 3
    write_record(dead, tmp_path)
    measuring.forget_dead_rungs(tmp_path)
    assert not (tmp_path / "text.json").exists()
    shutil.rmtree(tmp_path / "out")


def _add_case(root: Path, number: int, cases: int) -> None:
    for i in range(cases):
        with alone_with(root, wait_s=300):
            path = root / "observed" / "m.json"
            before = read_golden(path).cases if path.is_file() else {}
            write_goldens({path: replace(GOLDEN, cases={**before, f"{number}-{i}": i})}, root)


@pytest.mark.slow
def test_updates_of_one_golden_at_once_lose_none(tmp_path: Path, tried: Any) -> None:
    """Each adds its case to the same file; nothing is left in the folder but the golden."""
    cases = count(5, 100)
    tried(8 * cases)
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pool.starmap(_add_case, [(tmp_path, number, cases) for number in range(8)])
    assert len(read_golden(tmp_path / "observed" / "m.json").cases) == 8 * cases
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["m.json"]


@pytest.mark.slow
def test_eight_commands_build_one_environment_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Any
) -> None:
    """Eight `harness probe` on one stack: one builds, seven wait and use it; none lacks a file."""
    stack = tmp_path / "requirements.txt"
    stack.write_text("filelock\n")
    cache = tmp_path / "cache"
    environments = cache / "environments"
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    words = ["probe", "environment", "--stack", f"requirements:{stack}", "--out"]
    assert process(*words, tmp_path / "alone").code == 3  # torch is no part of it: nothing runs
    (folder,) = [path for path in environments.iterdir() if path.is_dir()]
    whole = installed(folder)
    assert len(whole) > 10
    for turn in range(count(1, 10)):
        shutil.rmtree(folder)
        with ThreadPoolExecutor(8) as pool:
            outs = [tmp_path / f"{turn}-{number}" for number in range(8)]
            running = [pool.submit(process, *words, out) for out in outs]
            markers = markers_seen(folder / "harness.json", running)
        assert [future.result().code for future in running] == [3] * 8
        assert len(markers) == 1, "built twice"
        assert installed(folder) == whole
        assert {path.name for path in environments.iterdir()} == {
            folder.name,
            f"{folder.name}.lock",
        }
        assert strays(cache) == []
        assert [[p.name for p in out.glob("*.json")] for out in outs] == [["environment.json"]] * 8
        tried(8)


def markers_seen(marker: Path, running: Sequence[Future[Ended]]) -> set[int]:
    """When the file that says that an environment is whole was written, each time that it was."""
    seen = set()
    while not all(future.done() for future in running):
        with contextlib.suppress(FileNotFoundError):
            seen.add(marker.stat().st_mtime_ns)
        time.sleep(0.005)
    return seen | {marker.stat().st_mtime_ns}


def test_a_golden_folder_that_another_process_writes_is_waited_for_then_refused(
    tmp_path: Path,
) -> None:
    with (
        alone_with(tmp_path),
        pytest.raises(BadInput, match="Another process is writing into"),
        alone_with(tmp_path, wait_s=0.1),
    ):
        pass


def test_a_bisects_answer_is_not_overwritten(harness: Command, tmp_path: Path) -> None:
    (tmp_path / "bisect.json").write_text("{}")
    ended = harness("bisect", *WHEELS, "--out", tmp_path)
    assert ended.code == 2
    assert "holds a bisect already" in ended.sentence
