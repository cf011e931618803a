"""Who looks on while a matrix is measured: one line for every cell, and the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.judging.matrix.cells import Cell
from harness.judging.matrix.forecast import Pace, duration
from harness.judging.matrix.kept import Outcome, State


class Progress:
    """Collects outcomes and says each, with how much is left."""

    def __init__(
        self, cells: Sequence[Cell], pace: Pace, workers: int, say: Callable[[str], None]
    ) -> None:
        """cells: those that are to be measured."""
        self._left = {cell.key: cell for cell in cells}
        self._total, self._workers = len(self._left), workers
        self._pace, self._say = pace, say
        self.outcomes: dict[str, Outcome] = {}

    @property
    def stacks_left(self) -> frozenset[str]:
        """The stacks of which cells have not ended."""
        return frozenset(cell.stack.text for cell in tuple(self._left.values()))

    def told(self, cell: Cell, outcome: Outcome) -> None:
        """A cell has ended."""
        self.outcomes[cell.key] = outcome
        self._left.pop(cell.key, None)
        self._pace.add(outcome)
        words = f"{outcome.state.value} {cell.title}"
        if outcome.state is State.MEASURED:
            words += f" in {duration(outcome.seconds)}"
        elif outcome.reason:
            words += f" ({outcome.reason})"
        done = self._total - len(self._left)
        if self._left:
            left = self._pace.left(self._left.values(), self._workers)
            self._say(f"{done} of {self._total}, about {duration(left)} left: {words}")
        else:
            self._say(f"{done} of {self._total}: {words}")
