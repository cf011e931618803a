"""The end of a measuring process, and of a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from suites.commands import ROOT

CODE = """
import atexit, threading, time
from concurrent.futures import ThreadPoolExecutor
from harness.measuring.child.ending import leave

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()
atexit.register(print, "left for the end")
pool = ThreadPoolExecutor()
pool.submit(print, "of a pool")
threading.Thread(target=lambda: (time.sleep(0.2), print("of a thread"))).start()
leave(3)
"""


def test_what_was_left_for_the_end_is_done_and_nothing_is_taken_apart() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["of a pool", "of a thread", "left for the end"]
    assert (done.returncode, done.stderr) == (3, "")


COMMAND = """
import atexit, harness.__main__ as command

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()

def main():
    atexit.register(print, "left for the end")
    print("said")
    ENDS

command.main = main
command.program()
"""


@pytest.mark.parametrize(
    ("ends", "code", "last"),
    [
        ("return 3", 3, "left for the end"),
        # What nobody foresaw ends as Python ends it.
        ("raise SystemExit(4)", 4, "taken apart"),
        ("raise ValueError", 1, "taken apart"),
    ],
)
def test_a_command_that_has_ended_is_not_taken_apart(ends: str, code: int, last: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.replace("ENDS", ends)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (lines[:2], lines[-1]) == (["said", "left for the end"], last)
    assert done.returncode == code
