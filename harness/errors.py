"""The few error types a user meets; each message is one sentence: what, where, what to do."""

from __future__ import annotations

from enum import StrEnum


class Lack(StrEnum):
    """What a measurement that did not run was lacking: decided by this, never by its sentence."""

    CUDA = "cuda"
    MEMORY = "memory"
    QUANTISATION = "quantisation"  # kernels that hold 4-bit weights; NF4 is emulated
    WEIGHTS = "weights"
    DATA = "data"  # data that says what is asked, as the catalogue does of its pictures
    SCALE = "scale"  # a training that is long enough
    LIBRARY = "library"  # a release that has the thing
    DECLARATION = "declaration"  # a stack that declares what it consists of
    FINDING = "finding"  # an earlier value, which broke
    METRIC = "metric"  # the probe left no such metric
    OTHER = "other"


class HarnessError(Exception):
    """Base of everything that is reported to the user as one sentence, without a traceback."""

    exit_code = 2


class BadInput(HarnessError):
    """Wrong usage or unusable input: unknown name, corrupt file, refused picture (exit 2)."""


class Damaged(BadInput):
    """A file that the harness itself wrote is not as it was written: a refusal, wherever it is
    met, and never a finding about a stack (exit 2)."""


class NotRunnable(HarnessError):
    """A required measurement cannot run on this machine, for example without CUDA (exit 3).

    lack: what it was lacking. blocked_by: of Lack.FINDING the id of the finding that broke.
    """

    exit_code = 3

    def __init__(self, sentence: str, lack: Lack = Lack.OTHER, blocked_by: str = "") -> None:
        super().__init__(sentence)
        self.lack, self.blocked_by = lack, blocked_by


class Diverged(HarnessError):
    """A training's loss is no number any more, and none after it can be (exit 1)."""

    exit_code = 1


class StackBroken(HarnessError):
    """A stack cannot be resolved, installed or imported (exit 2)."""


class Unwritable(BadInput):
    """A file cannot be written: too large for a limit, a broken disk, a read-only one. A refusal,
    wherever it is met, and never a finding about a stack (exit 2)."""


class OutOfSpace(HarnessError):
    """The disk is full or has too little room; nothing half-written is left (exit 2)."""
