"""Commands that end with us: a builder that is killed takes along what it started.

Else an installer would go on writing into an environment that the next command already builds
anew, because the lock died with its holder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

# PR_SET_PDEATHSIG is 1 (<sys/prctl.h>) and outlives an exec. Whoever died before it was set is no
# longer the parent. A function for the forked child would not be safe beside other threads. Whoever
# starts it may ignore Ctrl-C, as a cluster's worker does; the program must not. `signal` itself
# would import enum and re, for a third of the time that all of this takes.
_CODE = (
    "import ctypes, os, sys, _signal as signal; signal.signal(2, signal.SIG_DFL); "
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, {2}); "
    "ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


def words(program: Sequence[str]) -> list[str]:
    """The words that start a program, given by its path, so that it is killed with the thread that
    starts it. On Linux only; elsewhere it goes on to its own end."""
    if sys.platform != "linux":
        return list(program)
    return [sys.executable, "-I", "-S", "-c", _CODE, str(os.getpid()), *program]


def run(program: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program, given by its path, to its end; its output as text, whatever its exit code."""
    return subprocess.run(words(program), capture_output=True, text=True, check=False)
