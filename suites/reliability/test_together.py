"""One process writes into a run's folder: the lock comes before the first file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from harness.commands import probe
from harness.errors import BadInput
from harness.judging.workers import measure as measuring
from harness.judging.workers.measure import DIED, HANGS, alone
from harness.records.failure import Failure
from harness.records.record import PROBE, Metric, Provenance, Record, Status, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring.alone.__wrapped__, "__defaults__", (0.1,))


@pytest.mark.parametrize("verb", [["run"], ["probe", "environment"], ["golden", "check"]])
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
