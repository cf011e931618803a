"""The layers that a bisect has built and still needs, in a folder of its own.

Two bisects at once never touch each other's layers; what a killed one left is removed by the next.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from filelock import FileLock, Timeout

from harness.judging.environments import overlay


class Layers:
    """Built layers by name. root: shared by every bisect; each has one folder in it, locked while
    the bisect lives."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._folder = root / uuid.uuid4().hex[:12]
        self._lock = FileLock(f"{self._folder}.lock")
        with FileLock(root / "all.lock"):
            _sweep(root)
            self._lock.acquire()
        self._folder.mkdir()

    def built(
        self, name: str, layer: overlay.Layer, python: Path, wheels: Path | None
    ) -> tuple[Path, bool]:
        """The layer's folder, and whether it had to be installed.

        Raises StackBroken where it cannot be installed, OutOfSpace where the disk is full.
        """
        place = self._folder / name
        if place.is_dir():
            return place, False
        overlay.install(layer, python, place, wheels)
        return place, True

    def keep(self, names: Collection[str]) -> None:
        """Drop every layer but these."""
        for place in self._folder.iterdir():
            if place.name not in names:
                shutil.rmtree(place)

    def close(self) -> None:
        """Drop all and the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def _sweep(root: Path) -> None:
    """Remove the folders whose bisect no longer lives."""
    for path in root.iterdir():
        if path.is_dir():
            lock = FileLock(f"{path}.lock")
            with contextlib.suppress(Timeout), lock.acquire(timeout=0):
                shutil.rmtree(path, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)
