"""What an error tells: whether two are the same one, and whether one was a passing accident.

The same error is worded by every release for itself: another version, another line, the folder that
it is installed in. What is left when those are taken out are the library's own words.
"""

from __future__ import annotations

import re
import signal

from harness.judging.workers.measure import DIED, HANGS
from harness.records.failure import Failure

# In order: each takes out what the later ones would cut to pieces.
_CHANGING = (
    re.compile(r"\([^()]*/[^()]*\)"),  # a folder that may have spaces in its name
    re.compile(r"0x[0-9a-fA-F]+"),
    re.compile(r"[\w.@~+-]*(?:/[\w.@~+=-]+)+/?"),
    re.compile(r"[\w-]+\.(?:py|pyc|json|jinja|txt|safetensors|bin|pt|whl|so(?:\.\d+)*)\b"),
    # Versions, lines and sizes; not the digits of a name (Vision2Seq, float16).
    re.compile(
        r"(?<!\w)[-v]?\d[\d.]*(?:e[-+]?\d+)?(?:\.?(?:dev|post|rc|a|b)\d+)*(?:\+[\w.]+)?"
        r"(?:\s?[KMGT]i?B\b)?"
    ),
)

# By the system for want of memory, or by a person.
_KILLED = frozenset({signal.SIGKILL, signal.SIGTERM})
_NO_ROOM = re.compile(
    r"out of memory|(?:can.?t|cannot) allocate memory|not enough memory|bad_alloc"
    r"|no space left on device|disk quota exceeded",
    re.IGNORECASE,
)
_NO_MEMORY = frozenset({"OutOfMemoryError", "MemoryError"})


def own_words(message: str) -> str:
    """A message without versions, numbers, memory addresses, paths and names of files."""
    for changing in _CHANGING:
        message = changing.sub("…", message)
    return " ".join(message.replace("…", " ").split())


def is_accident(failure: Failure, limit_s: float) -> bool:
    """Whether it came from the machine at that moment and need not come again: killed, without
    memory, the disk full, or ended by another limit than limit_s.

    A crash of its own (a segmentation fault, an abort) would come again.
    """
    if failure.type == HANGS:
        return failure.limit_s != limit_s
    if failure.type == DIED and failure.signal in _KILLED:
        return True
    return failure.type in _NO_MEMORY or bool(_NO_ROOM.search(failure.message))
