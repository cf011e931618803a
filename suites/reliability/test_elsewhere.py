"""The same rungs under another folder, HOME, TZ, LANG, hash seed, clock, umask: equal records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.records.files import write_json
from harness.records.record import Record, read_records
from suites.reliability.counts import LARGE, large
from suites.reliability.test_state import spec, weights  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]

ROOT = Path(__file__).resolve().parents[2]
RUNGS = ("text", "ids", "labels", *(("inputs", "forward", "backward", "update") if LARGE else ()))
# Every reading of the clock is a minute before the last, as where somebody sets it back.
BACKWARDS = """
import time
_time, _read = time.time, [0]
def time_():
    _read[0] += 1
    return _time() - 60.0 * _read[0]
time.time = time_
"""


def measured(
    tmp_path: Path, name: str, variables: Mapping[str, str], cwd: Path = ROOT, umask: int = 0o022
) -> Mapping[str, Record]:
    out = tmp_path / name
    commanded(["probe", *RUNGS, "--threads", "1", "--out", str(out)], variables, cwd, umask)
    for path in out.rglob("*.json"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path
    return read_records(out)


def commanded(
    words: Sequence[str], variables: Mapping[str, str], cwd: Path = ROOT, umask: int = 0o022
) -> None:
    """A command that ends well, on the stand-in wherever the suites run: what is measured once for
    the file is so before any test's variables are cleared."""
    session = {k: v for k, v in os.environ.items() if k not in ("HARNESS_LANE", "HARNESS_MODEL")}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=cwd,
        umask=umask,
        env={**session, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def same(record: Record) -> Record:
    """What must be equal: all but how long it took and when it was."""
    metrics = tuple(metric for metric in record.metrics if not metric.volatile)
    return replace(
        record, metrics=metrics, seconds=0.0, provenance=replace(record.provenance, created="")
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Record]:
    """The records as they are without any of it."""
    return measured(tmp_path_factory.mktemp("here"), "out", {})


def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}


def temporary(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "a folder [with] ümläuts ; $x"
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def backwards(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(BACKWARDS)
    return {"PYTHONPATH": f"{tmp_path / 'clock'}{os.pathsep}{ROOT}"}


VARIED: Mapping[str, Callable[[Path], dict[str, str]]] = {
    "clock set back": backwards,
    "hash seed": lambda _: {"PYTHONHASHSEED": "12345"},
    "home": home,
    "time zone": lambda _: {"TZ": "Pacific/Kiritimati"},
    "language C": lambda _: {"LANG": "C", "LC_ALL": "C"},
    "language Turkish": lambda _: {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    "temporary folder": temporary,
    "terminal": lambda _: {"TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"},
    "another folder": lambda _: {},
    "umask": lambda _: {},
}


@pytest.mark.parametrize("what", [*VARIED] if LARGE else [*VARIED][:2])
def test_the_same_run_elsewhere_leaves_the_same_records(
    here: Mapping[str, Record], tmp_path: Path, what: str
) -> None:
    """And no duration is negative."""
    cwd = tmp_path if what == "another folder" else ROOT
    umask = 0o077 if what == "umask" else 0o022
    name = "dé/ep [x]/out" if what == "another folder" else "out"
    there = measured(tmp_path, name, VARIED[what](tmp_path), cwd, umask)
    assert {r: same(record) for r, record in there.items()} == {
        r: same(record) for r, record in here.items()
    }
    for record in there.values():
        assert record.seconds >= 0
        for metric in record.metrics:
            if metric.unit == "s":
                assert all(sample >= 0 for sample in metric.samples)
                assert not isinstance(metric.value, int | float) or metric.value >= 0


@pytest.fixture(scope="module")
def trained(spec: TrainSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:  # noqa: F811
    """A training's spec, and the weights that it leaves without any of it."""
    folder = tmp_path_factory.mktemp("trained")
    write_json(folder / "spec.json", spec_to_json(spec))
    commanded(["train", str(folder / "spec.json"), str(folder / "run")], {})
    return folder / "spec.json", weights(folder / "run")


@large
@pytest.mark.parametrize("what", VARIED)
def test_the_same_training_elsewhere_leaves_the_same_weights(
    trained: tuple[Path, Any], tmp_path: Path, what: str
) -> None:
    """Bit for bit, its losses too."""
    cwd = tmp_path if what == "another folder" else ROOT
    out = tmp_path / ("dé/ep [x]/run" if what == "another folder" else "run")
    umask = 0o077 if what == "umask" else 0o022
    commanded(["train", str(trained[0]), str(out)], VARIED[what](tmp_path), cwd, umask)
    assert weights(out) == trained[1]
