"""What was read from a file, kept while the file is as it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

# A file that changed less than this ago may change again without another time: file systems know
# it to the tick of their kernel's clock, at the worst to two seconds (FAT).
SETTLED_NS = 3_000_000_000

Value = TypeVar("Value")
# Device, inode, bytes, and when its content and when anything of it changed, in ns.
Stamp = tuple[int, int, int, int, int]


class Kept(Generic[Value]):
    """A function that reads a file, without reading one again that has not changed since.

    What it returns is shared by all who ask: it must be of a kind that nobody changes.
    """

    def __init__(self, read: Callable[[Path], Value]) -> None:
        self._read = read
        self._values: dict[str, tuple[Stamp, Value]] = {}

    def __call__(self, path: Path | str) -> Value:
        """Raises what the function raises."""
        name = os.fspath(path)
        stamp = _stamp(name)
        kept = self._values.get(name)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        value = self._read(Path(name))
        # Asked before it was read: what changed meanwhile has another stamp, and is read again.
        if stamp is not None and time.time_ns() - max(stamp[3:]) > SETTLED_NS:
            self._values[name] = stamp, value
        return value


def _stamp(name: str) -> Stamp | None:
    try:
        seen = os.stat(name)
    except OSError:
        return None  # who reads it says why
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
