"""Processes that are killed at any moment: real SIGKILLs of writers and of whole commands."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.files import TEMPORARY
from harness.records.record import RUNGS, read_record

ROOT = Path(__file__).resolve().parents[2]

CONTEXT = multiprocessing.get_context("fork")


def kill_after(write: Callable[[], None], seconds: float) -> None:
    """Fork a process that writes without an end, and kill it after so many seconds."""

    def run() -> None:
        while True:
            write()

    child = CONTEXT.Process(target=run)
    child.start()
    time.sleep(seconds)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(10)
    assert child.exitcode == -signal.SIGKILL


@dataclass
class Victim:
    """A command that is killed. words: of it now, which may be another once it has begun. longest:
    seconds that it may live before it is killed."""

    words: Callable[[], Sequence[str]]
    longest: float
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    seed: int = 23

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def live(self, seconds: float) -> int | None:
        """Run it and kill it after so long; its exit code where it ended before, else None."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, *self.words()],
                cwd=ROOT,
                env={**environment, **self.variables},
                stdout=log,
                stderr=log,
            )
            try:
                return child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
                return None

    def maul(self) -> int | None:
        """One life of a random length."""
        return self.live(self._dice.random() * self.longest)

    def finish(self, wanted: int) -> None:
        """A life that nobody ends."""
        code = self.live(600)
        assert code == wanted, self.log.read_text(errors="replace")[-3000:]


def strays(*folders: Path) -> list[Path]:
    """Temporary files."""
    return [path for folder in folders for path in folder.rglob(f"*{TEMPORARY}")]


def kept(folder: Path, pattern: str) -> dict[Path, int]:
    """Whole records, by path, and when they were written; a broken one raises."""
    paths = [path for path in folder.glob(pattern) if path.stem in RUNGS]
    for path in paths:
        read_record(path)
    return {path: path.stat().st_mtime_ns for path in paths}


def assert_kept(before: Mapping[Path, int], now: Mapping[Path, int]) -> None:
    assert {path: now.get(path) for path in before} == dict(before), "measured twice"


def installed(environment: Path) -> dict[str, str]:
    """What an environment consists of: every distribution's own list of its files."""
    lists = environment.glob("lib/*/site-packages/*.dist-info/RECORD")
    return {path.parent.name: path.read_text() for path in lists}
