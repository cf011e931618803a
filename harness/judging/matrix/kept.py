"""What was measured in a cell, kept by the cell's key: measured once, whoever asks again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import BadInput, Damaged
from harness.judging.matrix.cells import Cell
from harness.records.audit import audit_folder
from harness.records.files import remove_strays
from harness.records.record import Record, read_record
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build

# History: 1 (2026-11) first format.
SCHEMA = 1
NAME = "cell.json"
# Working files of a measurement that nothing reads once its records are there.
DROPPED = ("work", "training", "given")


class State(StrEnum):
    """What became of a cell. Of the last three nothing is kept: they are tried again."""

    MEASURED = "measured"
    DIED = "died"  # its process ended, or was ended at its limit, without all records
    NOT_RUN = "does not run"  # the stack says that it cannot measure this
    REFUSED = "refused"  # the command was: a bad input, a full disk, an error of the harness
    UNBUILT = "not installed"  # its stack could not be built
    PENDING = "not measured"  # interrupted before


LASTING = frozenset({State.MEASURED, State.DIED, State.NOT_RUN})


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. reason: for people, '' where it was measured. seconds: of its command.
    attempts: how often it was begun. stack … threads: of which cell, for people and forecasts."""

    state: State
    reason: str = ""
    seconds: float = 0.0
    host: str = ""
    attempts: int = 1
    code: int = 0
    stack: str = ""
    model: str = ""
    recipe: str = ""
    device: str = ""
    rungs: tuple[str, ...] = ()
    threads: int = 1
    schema: int = SCHEMA


class Kept:
    """A folder of cells. root: seen by every node."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, cell: Cell) -> Path:
        """Where a finished cell's records lie."""
        return self.root / "cells" / cell.key

    def part(self, cell: Cell) -> Path:
        """Where a cell is measured."""
        return self.root / "parts" / cell.key

    def lock(self, cell: Cell) -> Path:
        """The lock of whoever has it measured."""
        return self.root / "parts" / f"{cell.key}.lock"

    def outcome(self, cell: Cell) -> Outcome | None:
        """How a cell ended, None where it has not. Raises Damaged naming a file that is not as it
        was written."""
        path = self.folder(cell) / NAME
        return _read(path) if path.is_file() else None

    def outcomes(self) -> Iterator[Outcome]:
        """How every cell ended that is kept; a damaged one is nobody's and left out."""
        for path in sorted(self.root.glob(f"cells/*/{NAME}")):
            with suppress(Damaged, BadInput):
                yield _read(path)

    def records(self, cell: Cell) -> dict[str, Record]:
        """A finished cell's records by rung. Raises BadInput, Damaged naming a broken one."""
        return records_in(self.folder(cell), cell.rungs)

    def sweep(self) -> None:
        """Remove what a killed driver has left beside cells that are kept: logs and locks."""
        for path in self.root.glob("parts/*"):
            if path.is_file() and (self.root / "cells" / path.stem / NAME).is_file():
                path.unlink(missing_ok=True)

    def has_records(self, cell: Cell) -> bool:
        """Whether a finished cell has left any."""
        return any((self.folder(cell) / f"{rung}.json").is_file() for rung in cell.rungs)

    def forget(self, cell: Cell) -> None:
        """Drop a cell, finished or not."""
        for folder in (self.folder(cell), self.part(cell)):
            if folder.exists():
                shutil.rmtree(folder)

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Make what lies in the cell's part a finished cell, in one step, its outcome written
        last."""
        part, folder = self.part(cell), self.folder(cell)
        audit, aside = audit_folder(part), part / "audit"
        if audit.is_dir():  # what a training is judged by lies among its work
            os.rename(audit, aside)
        for name in DROPPED:
            shutil.rmtree(part / name, ignore_errors=True)
        if aside.is_dir():
            audit.parent.mkdir()
            os.rename(aside, audit)
        remove_strays(part)  # of one that was killed right here
        write_sealed(part / NAME, asdict(outcome))
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(part, folder)


def records_in(folder: Path, rungs: tuple[str, ...]) -> dict[str, Record]:
    """The records of these rungs that a folder holds."""
    paths = {rung: folder / f"{rung}.json" for rung in rungs}
    return {rung: read_record(path) for rung, path in paths.items() if path.is_file()}


def _read(path: Path) -> Outcome:
    mend = f"remove {path.parent} and measure it again"
    raw = read_sealed(path, mend)
    if raw.get("schema") != SCHEMA:
        raise BadInput(f"{path} has schema {raw.get('schema')!r}; {mend}.")
    try:
        return build(Outcome, raw)
    except ValueError as error:
        raise Damaged(f"{path} is no complete cell ({error}); {mend}.") from error
