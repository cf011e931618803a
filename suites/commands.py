"""How a command ended, as the suites of bad input look at it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suites import forked

ROOT = Path(__file__).resolve().parents[1]
# Of network.py: in a child it does nothing unless a test asks for it.
HOOKED = ROOT / "suites" / "hooked"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The error, checked to be one line, the last one, without a traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        lines = self.stderr.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert errors == lines[-1:], self.stderr
        assert errors[0].endswith("."), errors
        assert not self.stdout
        return errors[0]


Command = Callable[..., Ended]


def process(*words: str | Path, path: Sequence[Path] = (), **variables: str) -> Ended:
    """The command line as a process. path: folders put before others on Python's path."""
    done = forked.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        timeout=1200,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT, HOOKED])),
            **variables,
        },
    )
    return Ended(done.returncode, done.stdout, done.stderr)
