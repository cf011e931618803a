"""What a comparison is asked, frozen: two sides, the rungs, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.judging.workers.resolve import Request

Say = Callable[[str], None]


@dataclass(frozen=True)
class CompareSpec:
    """Two sides, OLD and NEW, each a stack or a directory of records.

    request: model, data, device, threads and recipe of both; its stack is not looked at. rungs: in
    ladder order. rungs_named: whether the user named them. options: the options of a measurement
    that the user wrote. limit_s: seconds for one rung. accepted: finding ids.
    """

    old: str
    new: str
    request: Request
    rungs: tuple[str, ...]
    rungs_named: bool = False
    options: tuple[str, ...] = ()
    limit_s: float = 1800.0
    accepted: frozenset[str] = frozenset()
    out: Path | None = None
    resume: str = ""

    @property
    def texts(self) -> tuple[str, str]:
        """Both sides as the user gave them."""
        return self.old, self.new


class View(Protocol):
    """Who looks on while a comparison is measured."""

    def tick(self) -> None:
        """Called now and then from the main thread; may raise KeyboardInterrupt."""

    def say(self, line: str) -> None:
        """Takes a line for people."""
