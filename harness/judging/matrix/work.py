"""The cells that wait to be measured, in the order of their stacks; a stack's environment is built
while the cells of the ones before are measured."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.judging.environments.build import environment_for
from harness.judging.matrix.cells import Cell

# So many stacks may always be built, or measured with, at the same time: the next beside this one.
AHEAD = 2


class Work:
    """Cells that wait, their environments built in order by a thread of its own."""

    def __init__(
        self,
        cells: Iterable[Cell],
        most: int,
        build: Callable[[str], Path] = environment_for,
    ) -> None:
        """most: cells that the engine can have at once; environments are built until as many are
        there. build: makes a stack's environment and returns its Python."""
        self._most = most
        self._by_stack: dict[str, list[Cell]] = {}
        for cell in cells:
            self._by_stack.setdefault(cell.stack.text, []).append(cell)
        self._left = {text: len(cells) for text, cells in self._by_stack.items()}
        self._ready: deque[Cell] = deque()
        self._unbuilt: deque[tuple[Cell, HarnessError]] = deque()
        self._pythons: dict[str, Path] = {}
        self._build = build
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._build_all, daemon=True)

    def __enter__(self) -> Work:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    @property
    def pythons(self) -> Mapping[str, Path]:
        """The Python of every stack that is built, by the stack's text."""
        return self._pythons

    @property
    def in_use(self) -> tuple[str, ...]:
        """The stacks of which cells wait or are measured."""
        return tuple(text for text, left in self._left.items() if left and text in self._pythons)

    @property
    def is_over(self) -> bool:
        """Whether no cell waits and none will. Raises what a build failed with unexpectedly."""
        with self._change:
            if self._error is not None:
                raise self._error
            return not self._thread.is_alive() and not self._ready and not self._unbuilt

    def take(self) -> Cell | None:
        """The next cell whose environment is there; None where none is yet."""
        with self._change:
            return self._ready.popleft() if self._ready else None

    def unbuilt(self) -> tuple[Cell, HarnessError] | None:
        """The next cell whose environment could not be built, and why."""
        with self._change:
            return self._unbuilt.popleft() if self._unbuilt else None

    def again(self, cell: Cell) -> None:
        """Give a cell out again, after those that wait."""
        with self._change:
            self._ready.append(cell)

    def done(self, cell: Cell) -> None:
        """A cell that was taken has ended: its environment may be needed no more."""
        with self._change:
            self._left[cell.stack.text] -= 1
            self._change.notify_all()

    def _build_all(self) -> None:
        try:
            for text, cells in self._by_stack.items():
                with self._change:
                    self._change.wait_for(lambda: self._closed or self._wants_another())
                    if self._closed:
                        return
                self._build_one(text, cells)
        except BaseException as error:  # noqa: BLE001 - raised where the cells are taken
            with self._change:
                self._error = error

    def _wants_another(self) -> bool:
        """Whether the stacks in use are too few for the engine, or one is not yet ahead."""
        used = self.in_use
        return len(used) < AHEAD or sum(self._left[text] for text in used) < self._most

    def _build_one(self, text: str, cells: list[Cell]) -> None:
        try:
            python = self._build(text)
        except HarnessError as error:
            with self._change:
                self._unbuilt.extend((cell, error) for cell in cells)
            return
        with self._change:
            self._pythons[text] = python
            self._ready.extend(cells)
