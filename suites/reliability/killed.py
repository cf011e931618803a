"""Processes that are killed at any moment: real SIGKILLs of writers that a test describes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable

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
