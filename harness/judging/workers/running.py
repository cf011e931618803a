"""One command of many, run on some node: its variables, its log, its end, however that comes.

Engines start these; where a command runs is theirs, what it is and how it ends is here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.judging.environments import bound

# What a command gets, once it is asked to end, to end what it has started itself.
GRACE_S = 10.0


@dataclass(frozen=True)
class Command:
    """What an engine runs. name: nobody else's. variables: set on top of the node's own. log: of
    all that it prints. limit_s: seconds that it may take. threads: cores that it needs for itself.
    cuda: whether it needs a GPU for itself. marker: a file that is there where the node has its
    environment; ready: the command that makes it, none where it is always there."""

    name: str
    words: tuple[str, ...]
    log: Path
    limit_s: float
    variables: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    cuda: bool = False
    marker: str = ""
    ready: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: its exit code, minus the signal that ended it. timed_out: whether
    it was ended because it took too long. lost: whether its node or its engine lost it, and it may
    never have begun."""

    code: int
    seconds: float = 0.0
    host: str = ""
    timed_out: bool = False
    lost: bool = False


class Running:
    """A command that runs here. `wait` blocks; `stop` may be called from another thread."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.timed_out = False
        self._stopped = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self.begun = time.monotonic()

    def wait(self, **more: str) -> Ended:
        """Run it to its end. more: variables of the place where it runs.

        It is killed with this very thread's process, on Linux. Raises OSError where it cannot be
        started.
        """
        command = self.command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            code = self._made_ready(log.fileno())
            if code == 0 and not self._stopped.is_set():
                code = self._call(command.words, log.fileno(), more)
        seconds = time.monotonic() - self.begun
        return Ended(code, seconds, socket.gethostname(), self.timed_out)

    def _made_ready(self, log: int) -> int:
        command = self.command
        if not command.ready or Path(command.marker).is_file():
            return 0
        return self._call(command.ready, log, {})

    def _call(self, words: tuple[str, ...], log: int, more: Mapping[str, str]) -> int:
        self._child = subprocess.Popen(
            bound.words(words),
            env={**os.environ, **self.command.variables, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        if self._stopped.is_set():  # asked for before there was a process to end
            self._signal(signal.SIGKILL)
        return self._child.wait()

    def stop(self, *, timed_out: bool = False, number: int = signal.SIGINT) -> None:
        """Ask it to end, or make it with SIGKILL; what it has started ends with it."""
        self.timed_out = self.timed_out or timed_out
        self._stopped.set()
        self._signal(number)

    def _signal(self, number: int) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)


@contextlib.contextmanager
def limited(running: Running) -> Iterator[None]:
    """Ends a command at its limit, with force where it does not follow."""

    def end() -> None:
        running.stop(timed_out=True)
        hard.start()

    limit_s = running.command.limit_s
    hard = threading.Timer(GRACE_S, lambda: running.stop(timed_out=True, number=signal.SIGKILL))
    soft = threading.Timer(limit_s, end)
    for timer in (soft, hard):
        timer.daemon = True
    soft.start()
    try:
        yield
    finally:
        soft.cancel()
        hard.cancel()


def run_here(command: Command) -> Ended:
    """Run a command on this node to its end, within its limit."""
    running = Running(command)
    with limited(running):
        return running.wait()
