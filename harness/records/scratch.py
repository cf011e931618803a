"""Folders to work in, beside what they become: what a killed process left is removed by the next.

Each is locked while its process lives, so two at once never touch each other's.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path


class Scratch:
    """An empty folder of one's own, until it is closed. root: shared by everybody who works there,
    and by nothing else."""

    def __init__(self, root: Path) -> None:
        from filelock import FileLock  # it brings asyncio, for nothing where nothing is built

        root.mkdir(parents=True, exist_ok=True)
        self.path = root / uuid.uuid4().hex[:12]
        self._lock = FileLock(f"{self.path}.lock")
        with FileLock(root / "all.lock"):
            _sweep(root)
            self._lock.acquire()
        self.path.mkdir()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the folder and all that is still in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def _sweep(root: Path) -> None:
    """Remove the folders whose process no longer lives."""
    from filelock import FileLock, Timeout

    for path in {file.with_suffix("") for file in root.iterdir() if file.name != "all.lock"}:
        lock = FileLock(f"{path}.lock")
        # Its own process may be taking the lock's file away just now.
        with contextlib.suppress(Timeout, FileNotFoundError), lock.acquire(timeout=0):
            shutil.rmtree(path, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)
