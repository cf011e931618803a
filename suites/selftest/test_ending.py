"""The end of a measuring process."""

from __future__ import annotations

import subprocess
import sys

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
