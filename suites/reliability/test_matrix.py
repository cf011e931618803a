"""A matrix under SIGKILL, of its driver and of the processes that measure: in the end the page of
one that nobody killed, and no cell measured twice but those that were being measured."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.judging.matrix.driver import ATTEMPTS
from suites.reliability.counts import count
from suites.reliability.driven import PAUSE_S, WORKERS, cells, drive, prepare
from suites.reliability.killed import ROOT, Victim, strays

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]
AT_ONCE = WORKERS["local"]
WHOLE_S = len(cells()) * PAUSE_S / AT_ONCE + 2.0


def files(page: Path) -> dict[str, bytes]:
    """All that a matrix has written for people and programs."""
    lock = page / "work" / "lock"
    paths = [path for path in sorted(page.rglob("*")) if path.is_file() and path != lock]
    return {str(path.relative_to(page)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a matrix that nobody kills has written."""
    folder = tmp_path_factory.mktemp("unharmed")
    prepare(folder)
    drive(folder, folder / "page")
    written = files(folder / "page")
    assert {"index.html", "matrix.json", "matrix.md"} < set(written)
    return written


def told(folder: Path) -> list[str]:
    path = folder / "count"
    return path.read_text().splitlines() if path.is_file() else []


def assert_measured_once(folder: Path, kills: int, at_once: int) -> None:
    """No cell begins again once it has all its records; as many again as were killed at most."""
    lines = told(folder)
    ended: set[str] = set()
    for line in lines:
        if line.startswith("-"):
            assert line not in ended, f"{line} ended twice"
            ended.add(line)
        else:
            assert f"-{line}" not in ended, f"{line} began again"
    begun = Counter(line for line in lines if not line.startswith("-"))
    assert set(begun) == {each.key for each in cells()}
    assert begun.total() - len(begun) <= kills * at_once


def test_a_killed_driver(
    tmp_path: Path, unharmed: dict[str, bytes], tried: Callable[[int], None]
) -> None:
    kills = 0
    for life in range(count(1, 4)):
        folder = tmp_path / str(life)
        folder.mkdir()
        prepare(folder)
        words = ["-m", "suites.reliability.driven", str(folder), str(folder / "page")]
        victim = Victim(lambda words=words: words, WHOLE_S / 2, tmp_path / "log", seed=life)
        killed = 0
        for _ in range(5):
            if victim.maul() is not None:
                break
            killed += 1
            tried(1)
        victim.finish(0)
        kills += killed
        assert files(folder / "page") == unharmed
        assert_measured_once(folder, killed, AT_ONCE)
        assert list((folder / "kept" / "parts").iterdir()) == []
        assert strays(folder) == []
        shutil.rmtree(folder)
    assert kills


def measuring(folder: Path) -> dict[str, int]:
    """The processes that measure a cell of this folder, by the cell."""
    mark = f"{folder}/kept/parts/"
    pids = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        pids |= {w: int(path.parent.name) for w in words if w.startswith(mark)}
    return pids


def test_killed_workers(
    tmp_path: Path, unharmed: dict[str, bytes], tried: Callable[[int], None]
) -> None:
    """One cell is never hit more often than it is given out again."""
    dice = random.Random(23)
    for life in range(count(1, 4)):
        folder = tmp_path / str(life)
        folder.mkdir()
        prepare(folder)
        words = ["-m", "suites.reliability.driven", str(folder), str(folder / "page")]
        log = (tmp_path / "log").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with log:
            driver = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
            hit: Counter[str] = Counter()
            while hit.total() < 5 and driver.poll() is None:
                time.sleep(dice.random() * 2 * PAUSE_S)
                pids = {c: pid for c, pid in measuring(folder).items() if hit[c] < ATTEMPTS - 1}
                if pids:
                    chosen = dice.choice(sorted(pids))
                    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(pids[chosen], signal.SIGKILL)
                        hit[chosen] += 1
                        tried(1)
            assert driver.wait(120) == 0, (tmp_path / "log").read_text()
        assert hit
        assert files(folder / "page") == unharmed
        assert_measured_once(folder, hit.total(), 1)
        shutil.rmtree(folder)
