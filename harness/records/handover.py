"""What a measuring process tells whoever started it: its rung, its error, its stacks."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import (
    BadInput,
    Damaged,
    Diverged,
    HarnessError,
    Lack,
    NotRunnable,
    OutOfSpace,
    StackBroken,
    Unwritable,
)
from harness.records.files import read_object, write_json
from harness.records.typed import build

# History: 1 (2026-11) first format.
SCHEMA = 1
# The variable that names the process which started a child.
PARENT = "HARNESS_PARENT"
_KINDS = {
    kind.__name__: kind
    for kind in (BadInput, Damaged, Diverged, OutOfSpace, StackBroken, Unwritable)
}


@dataclass(frozen=True)
class ChildError:
    """An error that a user meets, across a process: its class, exit code and sentence."""

    type: str
    exit_code: int
    sentence: str
    lack: Lack = Lack.OTHER
    blocked_by: str = ""
    schema: int = SCHEMA

    def as_exception(self) -> HarnessError:
        """The same error here."""
        if self.type == NotRunnable.__name__:
            return NotRunnable(self.sentence, self.lack, self.blocked_by)
        return _KINDS.get(self.type, HarnessError)(self.sentence)


@dataclass(frozen=True)
class UnderWay:
    """The rung that a process is in. started: seconds since the epoch."""

    rung: str
    started: float


def under_way_path(out: Path) -> Path:
    """Where the process that measures into a folder says which rung it is in."""
    return out / "work" / "current.json"


def begin_rung(out: Path, rung: str) -> None:
    """Say that a rung begins now."""
    write_json(under_way_path(out), asdict(UnderWay(rung, time.time())))


def rung_under_way(out: Path) -> UnderWay | None:
    """The rung under way in a folder; None while there is none, or none that can be read."""
    path = under_way_path(out)
    if not path.is_file():
        return None
    try:
        return build(UnderWay, read_object(path))
    except (BadInput, ValueError):
        return None


def error_path(job: Path) -> Path:
    """Where the process of a job leaves its error."""
    return job.with_suffix(".error.json")


def stacks_path(job: Path) -> Path:
    """Where the watchdog of a job's process leaves every thread's stack; empty until it does."""
    return job.with_suffix(".stacks.txt")


def leave_error(job: Path, error: HarnessError) -> None:
    """Write an error beside its job."""
    lack, blocked_by = Lack.OTHER, ""
    if isinstance(error, NotRunnable):
        lack, blocked_by = error.lack, error.blocked_by
    left = ChildError(type(error).__name__, error.exit_code, str(error), lack, blocked_by)
    write_json(error_path(job), asdict(left))


def left_error(job: Path) -> ChildError | None:
    """The error beside a job; None where its process left none that can be read."""
    path = error_path(job)
    if not path.is_file():
        return None
    try:
        return build(ChildError, read_object(path))
    except (BadInput, ValueError):
        # A process that died while it wrote: how it ended says enough.
        return None


def forget_handover(job: Path) -> None:
    """Remove what an earlier process of the job left."""
    error_path(job).unlink(missing_ok=True)
    stacks_path(job).unlink(missing_ok=True)
