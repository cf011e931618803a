"""What is timed of a whole training, and on what."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.recipe.published import Recipe


@dataclass(frozen=True)
class WholeSpec:
    """way: a variant's name or `trainer`. rows: of the data. steps: of the first epoch, 0 for all
    of it. later: steps of the second. processes: that collate beside a way's training. folder:
    where the adapter goes."""

    way: str
    snapshot: Path
    device: str
    tokens: int
    rows: int
    steps: int
    later: int
    processes: int
    folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class Took:
    """One optimizer step. seconds: wall, from the end of the one before. waited: of them, for its
    batches (0 where the trainer collates inside). loss, norm: None where they were never told or
    are no number."""

    epoch: int
    rows: int
    seconds: float
    waited: float
    loss: float | None
    norm: float | None


def number(value: float | None) -> float | None:
    """Itself; None for what is no number: a record holds none."""
    return value if value is not None and math.isfinite(value) else None


@dataclass
class Clock:
    """Wall time since `start`, by phase and by step. note: hears every entry at once.
    compilation: what torch.compile did in this process (compiling.py), None for the trainer's."""

    start: float
    note: Callable[[str], object]
    phases: list[tuple[str, float]] = field(default_factory=list)
    steps: list[Took] = field(default_factory=list)
    compilation: dict[str, int] | None = None
    _began: float = 0.0
    _ready: float = 0.0

    def phase(self, name: str) -> None:
        """It has just ended."""
        self.phases.append((name, time.time() - self.start))
        self.note(f"{self.phases[-1][1]:8.2f} s: {name}")

    def begin(self) -> None:
        """A step begins."""
        self._began = self._ready = time.time()

    def waited(self) -> None:
        """Its batches are there."""
        self._ready = time.time()

    def step(self, epoch: int, rows: int, loss: float | None, norm: float | None) -> None:
        """It has ended."""
        now = time.time()
        waited = self._ready - self._began
        took = now - self._began
        self.steps.append(Took(epoch, rows, took, waited, number(loss), number(norm)))
        self.note(f"epoch {epoch + 1}: {took:.3f} s, waited {waited:.3f}, loss {loss}")

    def amend(self, loss: float, norm: float) -> None:
        """The last step's loss, told after its end."""
        self.steps[-1] = replace(self.steps[-1], loss=number(loss), norm=number(norm))
        self.note(f"loss {loss}, gradient norm {norm}")

    def record(self) -> dict[str, Any]:
        """For a file."""
        steps = [asdict(step) for step in self.steps]
        return {"phases": self.phases, "steps": steps, "compilation": self.compilation}
