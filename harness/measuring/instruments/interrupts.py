"""Ctrl-C that nothing between the keyboard and us can swallow.

A KeyboardInterrupt raised inside a callback of compiled code may come out as another error:
torch.asarray turns whatever a sequence's `__getitem__` raises into a ValueError, and a storage
that safetensors reads is such a sequence. Such an error is no finding.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

_came = threading.Event()


def listen() -> None:
    """Raise KeyboardInterrupt at Ctrl-C as Python does, and remember that it came."""
    _came.clear()

    def note(number: int, frame: Any) -> None:
        _came.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)


def raise_if_interrupted() -> None:
    """Raises KeyboardInterrupt if Ctrl-C came since `listen`, whatever became of it."""
    if _came.is_set():
        raise KeyboardInterrupt
