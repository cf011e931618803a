"""Whole commands under SIGKILL, at any moment, again and again: what is there is readable, nothing
is measured twice, nothing is left lying, and in the end the values are those of one that nobody
killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.judging.compare.document import COMPARISON, read_comparison
from harness.judging.compare.plan import PLAN
from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.records.files import read_object, write_json
from harness.records.record import RUNGS, Metric, Provenance, Record, read_record, write_record
from harness.records.seals import read_sealed
from suites.reliability.bisected import bisected
from suites.reliability.counts import count, large
from suites.reliability.killed import ROOT, Victim, assert_kept, installed, kept, strays
from suites.reliability.test_state import spec, weights  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]


def test_a_killed_comparison_of_two_folders(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Its plan, document and page are whole or not there; then the same answer, without a stray."""
    provenance = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s")
    for side, value in (("old", 1.0), ("new", 2.0)):
        metrics = tuple(Metric("text", f"value{i}", "a", value) for i in range(200))
        write_record(Record("text", provenance, metrics, 1.0), tmp_path / side)
    out = tmp_path / "out"

    def words() -> list[str]:
        there = "--resume" if (out / PLAN).is_file() else "--out"
        sides = [f"{tmp_path}/old/", f"{tmp_path}/new/"]
        return ["-m", "harness", "compare", *sides, there, str(out)]

    victim = Victim(words, 1.2, tmp_path / "log")
    victim.finish(1)
    answer = read_comparison(out)
    for number in range(count(6, 200)):
        if number % 10 == 0:
            shutil.rmtree(out, ignore_errors=True)
        ended = victim.maul()
        assert ended in {None, 1}, victim.log.read_text()
        if (out / PLAN).is_file():
            read_sealed(out / PLAN, "mend")
        if (out / COMPARISON).is_file():
            assert read_comparison(out) == answer
        if number % 10 == 9 or ended is not None:
            victim.finish(1)
            assert read_comparison(out) == answer
            assert strays(out) == []
            assert (out / "report.html").read_text().rstrip().endswith("</html>")
            shutil.rmtree(out)
        tried(1)


BUILD = (
    "import sys; from harness.judging.environments.build import environment_for; "
    "print(environment_for(sys.argv[1]))"
)


def test_a_killed_build(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """An environment is there as a whole or built anew, and never with what a dead one installs."""
    asked = tmp_path / "requirements.txt"
    asked.write_text("filelock\n")
    cache = tmp_path / "cache"
    environments = cache / "environments"
    variables = {"HARNESS_CACHE": str(cache)}
    victim = Victim(
        lambda: ["-c", BUILD, f"requirements:{asked}"], 1.2, tmp_path / "log", variables
    )
    victim.finish(0)  # fills the installer's cache, from the package index
    victim.variables = {**variables, "UV_OFFLINE": "1"}
    (folder,) = [path for path in environments.iterdir() if (path / "harness.json").is_file()]
    whole = installed(folder)
    assert len(whole) > 10
    for number in range(count(6, 200)):
        marker = folder / "harness.json"
        before = marker.stat().st_mtime_ns if marker.is_file() else None
        ended = victim.maul()
        assert ended in {None, 0}, victim.log.read_text()
        if marker.is_file():
            assert installed(folder) == whole
            assert before in {None, marker.stat().st_mtime_ns}, "built twice"
        if ended == 0 or number % 10 == 9:
            victim.finish(0)
            assert installed(folder) == whole
            left = {path.name for path in environments.iterdir()} - {folder.name}
            assert left <= {f"{folder.name}.lock", "resolving"}, left
            assert [path.name for path in environments.glob("resolving/*")] in ([], ["all.lock"])
            assert strays(cache) == []
            shutil.rmtree(folder)
        tried(1)


@large
def test_a_killed_bisect(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Over wheels laid over this interpreter: a release that was measured stays measured."""
    asked, _ = bisected(tmp_path, releases=4)
    cache, out = tmp_path / "cache", tmp_path / "out"
    victim = Victim(
        lambda: ["-m", "harness", *asked, "--out", str(out)],
        7.0,
        tmp_path / "log",
        {"HARNESS_CACHE": str(cache)},
    )
    times: dict[Path, int] = {}
    for number in range(200):
        ended = victim.maul()
        assert ended in {None, 0}, victim.log.read_text()
        now = kept(cache / "bisect" / "records", "*/*.json")
        assert_kept(times, now)
        times = now
        if ended == 0 or number == 199:
            if ended is None:
                victim.finish(0)
                assert_kept(times, kept(cache / "bisect" / "records", "*/*.json"))
            answer = read_object(out / "bisect.json")["findings"]["text.rendered.korean"]
            edges = [(edge["before"], edge["after"]) for edge in answer["boundaries"]]
            assert edges == [("9.2", "9.3")]
            assert strays(cache, out) == []
            for name in ("layers", "sources"):
                assert not [path for path in (cache / "bisect" / name).iterdir() if path.is_dir()]
            shutil.rmtree(out)
            shutil.rmtree(cache)
            times = {}
        tried(1)


def values(folder: Path) -> dict[str, Any]:
    """Every value of a folder's records, times and the like apart."""
    return {
        metric.finding_id: metric.value
        for path in sorted(folder.glob("*.json"))
        if path.stem in RUNGS
        for metric in read_record(path).metrics
        if not metric.volatile
    }


def _still_kept(before: Mapping[Path, int], folders: Sequence[Path]) -> dict[Path, int]:
    """What is measured now, of which nothing from before was measured again."""
    now = {path: at for folder in folders for path, at in kept(folder, "*.json").items()}
    assert_kept(before, now)
    return now


def test_a_killed_comparison_that_measures(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Both sides on this interpreter, the texts: a side that was measured stays measured, and the
    values are those of one that nobody killed."""
    out = tmp_path / "out"
    sides = [out / "old", out / "new"]

    def words() -> list[str]:
        there = "--resume" if (out / PLAN).is_file() else "--out"
        return ["-m", "harness", "compare", "current", "current", "--rungs", "2", there, str(out)]

    victim = Victim(words, 5.0, tmp_path / "log")
    victim.finish(0)
    whole, answer = [values(side) for side in sides], read_comparison(out)
    assert all(whole)
    shutil.rmtree(out)
    times: dict[Path, int] = {}
    last = count(2, 200) - 1
    for number in range(last + 1):
        ended = victim.maul()
        assert ended in {None, 0}, victim.log.read_text()
        times = _still_kept(times, sides)
        if ended == 0 or number % 10 == 9 or number == last:
            if ended is None:
                victim.finish(0)
                _still_kept(times, sides)
            assert [values(side) for side in sides] == whole
            assert read_comparison(out) == answer
            assert strays(out) == []
            shutil.rmtree(out)
            times = {}
        tried(1)


@large
def test_a_killed_run_has_the_same_values(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """All rungs, training and generation among them, of two steps."""
    out = tmp_path / "out"

    def words() -> list[str]:
        if (out / "work" / "context.json").is_file():
            return ["-m", "harness", "run", "--resume", str(out)]
        return ["-m", "harness", "run", "--max-steps", "2", "--threads", "1", "--out", str(out)]

    victim = Victim(words, 25.0, tmp_path / "log")
    code = victim.live(900)
    assert code in {0, 1, 3}, victim.log.read_text()[-2000:]
    whole = values(out)
    shutil.rmtree(out)
    measured_at: dict[Path, int] = {}
    for _ in range(20):
        assert victim.maul() in {None, code}, victim.log.read_text()
        measured_at = _still_kept(measured_at, [out])
        tried(1)
    victim.finish(code or 0)
    _still_kept(measured_at, [out])
    assert values(out) == whole
    assert strays(out) == []


@large
def test_a_killed_training_has_the_same_values(
    spec: TrainSpec,  # noqa: F811
    tmp_path: Path,
    tried: Callable[[int], None],
) -> None:
    """`harness train`, eight steps, a state after each."""
    from dataclasses import replace

    write_json(tmp_path / "spec.json", spec_to_json(replace(spec, max_steps=8, rows=8)))
    out = tmp_path / "run"
    victim = Victim(
        lambda: ["-m", "harness", "train", str(tmp_path / "spec.json"), str(out)],
        9.0,
        tmp_path / "log",
    )
    victim.finish(0)
    whole = weights(out)
    shutil.rmtree(out)
    for _ in range(20):
        assert victim.maul() in {None, 0}, victim.log.read_text()
        tried(1)
    victim.finish(0)
    assert weights(out) == whole
    assert strays(out) == []
    assert json.loads((out / "run.json").read_text())["curve"][-1]["step"] == 8


def test_what_a_killed_command_started_ends_with_it(tmp_path: Path) -> None:
    """Else two would write where one was killed and begun again."""
    from harness.judging.environments import bound

    script = tmp_path / "installer"
    pid = tmp_path / "pid"
    script.write_text(f"#!/bin/sh\necho $$ > {pid}.part; mv {pid}.part {pid}; exec sleep 300\n")
    script.chmod(0o755)
    code = f"from {bound.__name__} import run; run([{str(script)!r}])"
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    deadline = time.monotonic() + 30
    while not pid.is_file():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.wait()
    begun = Path("/proc", pid.read_text().strip())
    while begun.exists() and "Z" not in (begun / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)
