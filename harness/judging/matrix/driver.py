"""Measure what a matrix has not yet: cells out to an engine, outcomes back, each kept at once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.kept import LASTING, Kept, Outcome, State
from harness.judging.matrix.work import Work
from harness.judging.workers.engines import Engine
from harness.judging.workers.process import child_environment, leaving_alone
from harness.judging.workers.running import Command, Ended

# A process that something else has killed, or a lost node's, is given out again so often.
ATTEMPTS = 3
INTERRUPTED, CANNOT = 130, 3
# Of a log, what a reason is taken from.
MOST_OF_A_REASON = 300
# Of the driver's variables, what a node gets: no secret goes into a file of a scheduler.
TAKEN = (
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "PYTHONPYCACHEPREFIX",
    "PYTHONDONTWRITEBYTECODE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
)
Told = Callable[[Cell, Outcome], None]


def probing(cell: Cell, python: Path, part: Path, limit_s: float) -> Command:
    """The command that measures a cell: `PYTHON -m harness probe …`."""
    whole = {**child_environment(cell.threads), **leaving_alone(python, {})}
    # What is used as it is has no name of its own in it.
    own = ["--stack", cell.stack.text] if cell.stack.text.startswith("python:") else []
    words = [str(python), "-m", "harness", "probe", *cell.rungs]
    if cell.training is not None:  # on what its file says; the engine hides what is not the cell's
        words += ["--training", cell.training.text]
    else:
        words += ["--model", cell.model, "--recipe", cell.recipe, "--device", cell.device]
    words += ["--threads", str(cell.threads)]
    making = (sys.executable, "-m", "harness.judging.environments", cell.stack.text)
    return Command(
        name=cell.key,
        words=(*words, *own, "--out", str(part)),
        log=log_of(part),
        limit_s=limit_s,
        variables={name: whole[name] for name in TAKEN if name in whole},
        threads=cell.threads,
        cuda=cell.device == "cuda",
        marker=cell.stack.marker,
        ready=making if cell.stack.marker else (),
    )


def log_of(part: Path) -> Path:
    """Where what a cell's command prints is kept: beside the folder that it writes into, which it
    wants for itself."""
    return part.with_name(f"{part.name}.log")


@dataclass
class _Taken:
    """A cell that is being measured. lock: held meanwhile. attempts: this one included."""

    cell: Cell
    lock: Any
    attempts: int


class Driver:
    """Takes cells from the work, makes commands of them, and keeps how they ended."""

    def __init__(
        self,
        work: Work,
        kept: Kept,
        told: Told,
        limit_s: float,
        command: Callable[[Cell, Path, Path, float], Command] = probing,
    ) -> None:
        """told: hears of every cell that ended. command: of a cell, the Python of its stack, the
        folder that it measures into, and its limit in seconds."""
        self._work, self._kept, self._told = work, kept, told
        self._limit_s, self._command = limit_s, command
        self._taken: dict[str, _Taken] = {}
        self._attempts: dict[str, int] = {}

    @property
    def is_over(self) -> bool:
        """As Supply has it."""
        return self._work.is_over

    def take(self) -> Command | None:
        """As Supply has it. A cell that another driver has measured meanwhile is taken as it is;
        one that another is measuring waits."""
        from filelock import FileLock, Timeout  # it brings asyncio, for nothing where all is kept

        while cell := self._work.take():
            path = self._kept.lock(cell)
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except (Timeout, FileNotFoundError):
                # Another has it, or has let it go, and removed it, between a look and an open.
                self._work.again(cell)
                return None
            outcome = self._kept.outcome(cell) or self._finished(cell)
            if outcome is None:
                attempts = self._attempts[cell.key] = self._attempts.get(cell.key, 0) + 1
                self._taken[cell.key] = _Taken(cell, lock, attempts)
                python = self._work.pythons[cell.stack.text]
                return self._command(cell, python, self._kept.part(cell), self._limit_s)
            self._let_go(cell, lock)
            self._told(cell, outcome)
        return None

    def _finished(self, cell: Cell) -> Outcome | None:
        """What a command had measured whose driver was killed before it could keep it; what a
        killed command has left is dropped."""
        part = self._kept.part(cell)
        if part.is_dir() and _is_whole(cell, part):
            outcome = _outcome(cell, State.MEASURED, Ended(0), 1)
            self._keep(cell, outcome)
            return outcome
        shutil.rmtree(part, ignore_errors=True)
        log_of(part).unlink(missing_ok=True)
        return None

    def _keep(self, cell: Cell, outcome: Outcome) -> None:
        """Keep a cell with the log of its command."""
        part = self._kept.part(cell)
        (part / "logs").mkdir(parents=True, exist_ok=True)
        if log_of(part).is_file():
            log_of(part).replace(part / "logs" / "command.log")
        self._kept.keep(cell, outcome)

    def ended(self, command: Command, ended: Ended) -> None:
        """A cell's command has ended. Raises KeyboardInterrupt where it was interrupted itself."""
        taken = self._taken.pop(command.name)
        cell, part = taken.cell, self._kept.part(taken.cell)
        if ended.code == INTERRUPTED and not ended.timed_out:
            taken.lock.release()
            raise KeyboardInterrupt
        outcome = outcome_of(cell, part, ended, taken.attempts, self._limit_s)
        if outcome is None:
            shutil.rmtree(part, ignore_errors=True)
            taken.lock.release()
            self._work.again(cell)
            return
        if outcome.state in LASTING:
            self._keep(cell, outcome)
        else:
            shutil.rmtree(part, ignore_errors=True)
            log_of(part).unlink(missing_ok=True)
        self._let_go(cell, taken.lock)
        self._told(cell, outcome)

    def tick(self) -> None:
        """Hear of environments that could not be built."""
        while failed := self._work.unbuilt():
            cell, error = failed
            self._work.done(cell)
            self._told(cell, _outcome(cell, State.UNBUILT, Ended(0), 0, str(error)))

    def _let_go(self, cell: Cell, lock: Any) -> None:
        # Whoever waits for the lock looks first whether the cell is there.
        self._kept.lock(cell).unlink(missing_ok=True)
        lock.release()
        self._work.done(cell)


def outcome_of(
    cell: Cell, part: Path, ended: Ended, attempts: int, limit_s: float
) -> Outcome | None:
    """What became of a cell; None where it is to be given out again."""
    if _is_whole(cell, part):
        return _outcome(cell, State.MEASURED, ended, attempts)
    if ended.timed_out:
        why = f"no answer within {limit_s:.0f} s, its limit"
        return _outcome(cell, State.DIED, ended, attempts, why)
    if ended.lost or ended.code < 0:
        if attempts < ATTEMPTS:
            return None
        how = "its node was lost" if ended.lost else f"signal {-ended.code}"
        why = f"{how}, {attempts} times; last line: {last_line(log_of(part))}"
        return _outcome(cell, State.DIED, ended, attempts, why)
    why = last_line(log_of(part))
    if ended.code == CANNOT:
        return _outcome(cell, State.NOT_RUN, ended, attempts, why)
    if ended.code in {HarnessError.exit_code, 70}:
        return _outcome(cell, State.REFUSED, ended, attempts, why)
    return _outcome(cell, State.DIED, ended, attempts, f"exit code {ended.code}; last line: {why}")


def _outcome(cell: Cell, state: State, ended: Ended, attempts: int, reason: str = "") -> Outcome:
    return Outcome(
        state,
        reason,
        round(ended.seconds, 3),
        ended.host,
        attempts,
        ended.code,
        cell.stack.label,
        cell.model,
        cell.recipe,
        cell.device,
        cell.rungs,
        cell.threads,
    )


def _is_whole(cell: Cell, part: Path) -> bool:
    """Whether every rung has left its record; each is written whole or not at all."""
    return all((part / f"{rung}.json").is_file() for rung in cell.rungs)


def last_line(log: Path) -> str:
    """What a command said last, '' where it said nothing."""
    if not log.is_file():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ")[:MOST_OF_A_REASON] if lines else ""


def measure_cells(
    cells: Sequence[Cell],
    kept: Kept,
    engine: Engine,
    told: Told,
    limit_s: float,
    build: Callable[[str], Path],
    command: Callable[[Cell, Path, Path, float], Command] = probing,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Measure the cells, which none has been kept of, and tell of each as it ends.

    Raises KeyboardInterrupt after what runs has ended; what has been measured is kept.
    """
    kept.sweep()
    unique = {cell.key: cell for cell in cells}
    with Work(unique.values(), engine.most, build) as work:
        driver = Driver(work, kept, told, limit_s, command)

        def check() -> None:
            driver.tick()
            tick()

        engine.run(driver, driver.ended, check)
