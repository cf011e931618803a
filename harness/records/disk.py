"""An error of the disk is none of what is measured, whichever library met it: it is a refusal."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from harness.errors import Damaged, HarnessError, OutOfSpace, Unwritable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
BROKEN = frozenset({errno.EFBIG, errno.EIO, errno.EROFS})
# As Rust's libraries word them (safetensors, tokenizers), and C++'s (pyarrow).
_WORDED = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)|\[errno (\d+)\]", re.I)
# An error is wrapped so often at most; a chain may lead back to itself.
DEEPEST = 10


def refusal(number: int, path: object) -> HarnessError:
    """The sentence for an error number at a path."""
    if number in FULL:
        return OutOfSpace(f"No room left on the disk for {path}; free some space, then go on.")
    return Unwritable(f"{path} cannot be written ({os.strerror(number)}).")


def of_the_disk(error: BaseException) -> HarnessError | None:
    """What to refuse with where an error, or one that it was raised from, is the disk's."""
    met: BaseException | None = error
    for _ in range(DEEPEST):
        if met is None:
            break
        if isinstance(met, Damaged | OutOfSpace | Unwritable):
            return met
        number = _number(met)
        if number in FULL | BROKEN:
            path = getattr(met, "filename", None)
            return refusal(number, "a file" if path is None else os.fsdecode(path))
        met = met.__cause__ or met.__context__
    return None


def _number(error: BaseException) -> int:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    worded = _WORDED.search(str(error))
    return int(next(filter(None, worded.groups()))) if worded else 0


def raise_of_the_disk(error: BaseException) -> None:
    """Raise the refusal where an error is the disk's; else nothing."""
    refused = of_the_disk(error)
    if refused is not None:
        raise refused from error


@contextlib.contextmanager
def disk_refused() -> Iterator[None]:
    """Whatever inside fails of the disk is refused in one sentence."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise_of_the_disk(error)
        raise
