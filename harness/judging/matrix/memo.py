"""What was judged of a cell before, kept by all that decides it, with the page that was drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import Damaged
from harness.judging.goldens.golden import Golden
from harness.judging.goldens.own import goldens_for
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.kept import Kept
from harness.judging.matrix.table import MATRIX_SCHEMA, CellEntry
from harness.records.files import json_digest, remove_strays, write_atomically
from harness.records.record import Record
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build

# Beside the matrix's own page.
PAGES = "pages"


@contextlib.contextmanager
def remembering(root: Path) -> Iterator[None]:
    """One process at a time writes into the folder of what was judged; what a killed one left half
    written there is removed."""
    from filelock import FileLock  # it brings asyncio, for nothing where nothing is judged

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        remove_strays(root)
        yield


@dataclass(frozen=True)
class Measured:
    """A cell with records."""

    cell: Cell
    kept: Kept

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.kept.folder(self.cell)

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """By rung, read when they are asked for. Raises BadInput, Damaged naming a broken one."""
        return self.kept.records(self.cell)

    @cached_property
    def own_truths(self) -> Sequence[Golden]:
        """What the oracles said of its samples, beside its records. Raises as read_own_truths."""
        return goldens_for(self.folder, committed=())


@dataclass(frozen=True)
class Memo:
    """What was judged before, by all that decides it. digest: of the yardstick, '' keeps nothing
    from one matrix to the next."""

    root: Path
    digest: str
    here: Measured
    there: Measured | None

    @property
    def _path(self) -> Path:
        keys = [self.here.cell.key, self.there.cell.key if self.there else ""]
        return self.root / f"{json_digest([MATRIX_SCHEMA, *keys, self.digest])}.json"

    def entry(self) -> CellEntry | None:
        """The entry, None where there is none. Raises Damaged naming a broken one."""
        if not self.digest or not self._path.is_file():
            return None
        raw = read_sealed(self._path, f"remove {self._path}")
        try:
            return build(CellEntry, raw)
        except ValueError as error:
            raise Damaged(f"{self._path} is not complete ({error}); remove it.") from error

    def keep(self, entry: CellEntry, page: bytes) -> None:
        """Keep an entry, its page before it."""
        if page:
            write_atomically(self._path.with_suffix(".html"), page)
        write_sealed(self._path, asdict(entry))

    def publish(self, entry: CellEntry, out: Path | None) -> None:
        """Lay an entry's page beside the matrix's."""
        if entry.page and out is not None:
            write_atomically(out / entry.page, self._path.with_suffix(".html").read_bytes())
