"""Write calls that fail where a test says so: the n-th under a folder, with an error of the disk.

An audit hook sees what Python opens to write, renames, makes or links; os.fsync is wrapped, which
is where a kernel says that it could not keep what it took. In a child the same comes from a
variable, by way of a sitecustomize.py on its path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where a child is told: ROOT|NUMBER|ERRNO|PART of its command line.
VARIABLE = "HARNESS_TEST_FAILING"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {"os.rename": 1, "os.mkdir": 0, "os.link": 1, "os.symlink": 1, "os.truncate": 0}
ERRORS = (errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS)


@dataclass
class Plan:
    """root: only what lies below it fails. number: which call, from 1; 0 counts only. seen: how
    many there were."""

    root: str
    number: int
    error: int
    seen: int = 0

    def write(self, path: str) -> None:
        """One write call."""
        if not path.startswith(self.root) or path.endswith(".lock") or path.endswith("/lock"):
            return
        self.seen += 1
        if self.seen == self.number:
            raise OSError(self.error, os.strerror(self.error), path)


_CURRENT: Plan | None = None
_FSYNC = os.fsync
_HOOKED = False
_UNTIL_THE_END = contextlib.ExitStack()


def _hook(event: str, words: tuple[Any, ...]) -> None:
    if _CURRENT is None:
        return
    path: Any = None
    if event == "open" and isinstance(words[2], int) and words[2] & WRITES:
        path = words[0]
    elif event in PATHS:
        path = words[PATHS[event]]
        if event == "os.mkdir" and os.path.isdir(path):
            return  # it is there: nothing would be written
    if isinstance(path, str | bytes | os.PathLike):
        _CURRENT.write(os.path.abspath(os.fsdecode(path)))


def _fsync(handle: int) -> None:
    if _CURRENT is not None:
        _CURRENT.write(os.readlink(f"/proc/self/fd/{handle}"))
    _FSYNC(handle)


@contextlib.contextmanager
def failing(root: Path, number: int, error: int = errno.EIO) -> Iterator[Plan]:
    """The n-th write call below a folder fails, in this process."""
    global _CURRENT, _HOOKED
    if not _HOOKED:
        sys.addaudithook(_hook)  # it can never be taken away again
        _HOOKED = True
    plan = Plan(str(root), number, error)
    os.fsync = _fsync
    _CURRENT = plan
    try:
        yield plan
    finally:
        _CURRENT = None
        os.fsync = _FSYNC


def in_child(folder: Path, root: Path, number: int, error: int, part: str) -> dict[str, str]:
    """The variables under which the n-th write call fails in a child whose command line holds
    `part`. folder: for the file that arranges it, and for the count of a child that ended."""
    folder.mkdir(exist_ok=True)
    code = "from suites.reliability import failing; failing.from_variable()\n"
    (folder / "sitecustomize.py").write_text(code)
    counts = folder / "seen"
    told = "|".join([str(root), str(number), str(error), part, str(counts)])
    return {"PYTHONPATH": str(folder), VARIABLE: told}


def from_variable() -> None:
    """What a child's sitecustomize.py does."""
    root, number, error, part, counts = os.environ[VARIABLE].split("|")
    if not any(part in word for word in sys.orig_argv):
        return
    import atexit

    plan = _UNTIL_THE_END.enter_context(failing(Path(root), int(number), int(error)))
    atexit.register(lambda: Path(counts).write_text(str(plan.seen)))
