"""The few error types a user meets; each message is one sentence: what, where, what to do."""

from __future__ import annotations


class HarnessError(Exception):
    """Base of everything that is reported to the user as one sentence, without a traceback."""

    exit_code = 2


class BadInput(HarnessError):
    """Wrong usage or unusable input: unknown name, corrupt file, refused picture (exit 2)."""


class NotRunnable(HarnessError):
    """A required measurement cannot run on this machine, for example without CUDA (exit 3)."""

    exit_code = 3


class Diverged(HarnessError):
    """A training's loss is no number any more, and none after it can be (exit 1)."""

    exit_code = 1


class StackBroken(HarnessError):
    """A stack cannot be resolved, installed or imported (exit 2)."""


class OutOfSpace(HarnessError):
    """The disk is full or has too little room; nothing half-written is left (exit 2)."""
