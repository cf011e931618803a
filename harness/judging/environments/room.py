"""Room for environments: those that a matrix has built, the longest unused first, are dropped where
all of them together are larger than a bound. Nobody else's is ever touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from harness.judging.environments.installed import BUILT

# What says that an environment may be dropped; its time is when it was last wanted.
MARK = "bounded"
_BLOCK = 512  # of st_blocks, whatever the disk's own


def wanted(folder: Path) -> None:
    """Mark an environment as one that may be dropped when it is the longest unused."""
    (folder / MARK).touch()


def droppable(root: Path) -> list[Path]:
    """The environments that may be dropped, the longest unused first."""
    marks = [path for path in root.glob(f"*/{MARK}") if path.is_file()]
    return [mark.parent for mark in sorted(marks, key=lambda mark: mark.stat().st_mtime_ns)]


def size_of(folders: Iterable[Path]) -> int:
    """Bytes on the disk of all files below the folders together; one of several names counts
    once."""
    seen: dict[tuple[int, int], int] = {}
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                stat = os.lstat(os.path.join(place, name))
                seen[stat.st_dev, stat.st_ino] = stat.st_blocks * _BLOCK
    return sum(seen.values())


def make_room(bound: int, needed: int, keep: Collection[Path], root: Path) -> tuple[Path, ...]:
    """Drop environments until the rest and `needed` more bytes are within the bound.

    keep: those that are used. One that a process runs from is kept too. Returns what was dropped.
    """
    from filelock import FileLock, Timeout  # it brings asyncio, for nothing where no bound is

    left = droppable(root)
    dropped: list[Path] = []
    for folder in tuple(left):
        if size_of(left) + needed <= bound:
            break
        if folder in keep or _runs_from(folder):
            continue
        try:
            with FileLock(f"{folder}.lock", timeout=0):
                # Without it nobody takes the rest for an environment.
                (folder / BUILT).unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue
        left.remove(folder)
        dropped.append(folder)
    return tuple(dropped)


def _runs_from(folder: Path) -> bool:
    """Whether a process of this machine was started from an environment; False where none can be
    asked."""
    start = os.fsencode(folder) + b"/"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(start):
                return True
        except OSError:
            continue  # it has ended meanwhile, or is another user's
    return False
