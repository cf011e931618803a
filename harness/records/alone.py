"""One process at a time writes into a folder: the lock is taken before the first file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.records.files import forget, remove_strays

# A process killed a moment ago may still be closing its files.
LOCK_S = 10.0


@contextlib.contextmanager
def alone(out: Path, lock_s: float = LOCK_S) -> Iterator[None]:
    """One process writes into a run's folder; taken before the first file is.

    A command that is refused inside, before it has written anything, leaves no folder. Raises
    BadInput while another process is there.
    """
    from filelock import FileLock, Timeout  # it brings asyncio, for nothing where no lock is

    lock = out / "work" / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}).") from error
    try:
        with FileLock(lock, timeout=lock_s):
            remove_strays(out)
            try:
                yield
            except (HarnessError, OSError):
                if set(out.rglob("*")) == {lock.parent, lock}:
                    forget(lock)
                raise
    except Timeout as error:
        raise BadInput(
            f"Another process is measuring into {out}; wait for it, or choose another --out."
        ) from error
