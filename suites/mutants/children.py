"""A piece of work in a forked process, with a limit of time and memory: what a mutant leaves behind
in a process ends with it."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_BYTES = 6 * 2**30
HUNG, TOO_LARGE = "time", "memory"


def forked(work: Callable[[], object], folder: Path, seconds: float) -> str:
    """'' where it ended well; `time` or `memory` where it had to be killed; else its error in one
    line, the type first. folder: its working folder, where what it says is kept in said.txt and an
    error's whole trace in error.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if not child:
        _work(work, folder)
    end, killed = time.monotonic() + seconds, ""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if not killed and (time.monotonic() > end or _bytes(child) > MOST_BYTES):
            killed = HUNG if time.monotonic() > end else TOO_LARGE
            os.killpg(child, signal.SIGKILL)
        time.sleep(POLL_S)
    if killed or not status:
        return killed
    if os.WIFSIGNALED(status):
        return f"killed: {signal.Signals(os.WTERMSIG(status)).name}"
    error = folder / "error.txt"
    lines = error.read_text().splitlines() if error.is_file() else []
    return next((line for line in reversed(lines) if line[:1].strip()), f"exit code {status >> 8}")


def _work(work: Callable[[], object], folder: Path) -> None:
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        stream = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is what became of the work
        Path(folder, "error.txt").write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _bytes(process: int) -> int:
    """Resident; 0 where it has just ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
