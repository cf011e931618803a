"""A matrix's answer as one frozen document: what each cell is by itself, and against the one to its
left. Written whole, read back checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Damaged
from harness.judging.matrix.kept import State
from harness.records.record import Verdict
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Json, build

MATRIX = "matrix.json"
# History: 1 (2026-11) first format.
MATRIX_SCHEMA = 1
# Of a value in the document; the records have it whole.
MOST_OF_A_VALUE = 400

# How many cells of a state are told.
COUNTED = {
    State.DIED: "died",
    State.NOT_RUN: "do not run",
    State.REFUSED: "refused",
    State.UNBUILT: "not installed",
    State.PENDING: "not measured",
}


@dataclass(frozen=True)
class Wrong:
    """A value that misses its truth, or an error in its place. known: the reason that a committed
    list of expected findings has for it; else why the truth is what it is."""

    finding: str
    rung: str
    verdict: Verdict
    truth: Json = None
    value: Json = None
    error: str = ""
    reason: str = ""
    known: bool = False


@dataclass(frozen=True)
class Moved:
    """An own difference from the cell to the left. changes: names of register entries that explain
    it. old, new: the values, or the errors in their place."""

    finding: str
    rung: str
    verdict: Verdict
    standing: str = ""
    changes: tuple[str, ...] = ()
    severity: str = ""
    old: Json = None
    new: Json = None
    accepted: bool = False
    red: bool = False


@dataclass(frozen=True)
class CellEntry:
    """One cell. stack: its label. right: how many values are as their truths say. wrong, moved: in
    ladder order. calls: calls of rungs 0 and 1 that broke. left: the label of the nearest stack to
    the left that was measured, '' for none. page: the comparison with it, beside the document.
    measured: the day. versions: of what decides results."""

    stack: str
    model: str
    recipe: str
    device: str
    key: str
    state: State
    reason: str = ""
    right: int = 0
    missing: int = 0
    wrong: tuple[Wrong, ...] = ()
    moved: tuple[Moved, ...] = ()
    same: int = 0
    calls: tuple[str, ...] = ()
    left: str = ""
    page: str = ""
    measured: str = ""
    device_key: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_wrong(self) -> str:
        """The first rung that is wrong against the truth, '' where none is."""
        return self.wrong[0].rung if self.wrong else ""

    @property
    def first_moved(self) -> str:
        """The first rung that moved against the left neighbour, '' where none did."""
        return self.moved[0].rung if self.moved else ""

    @property
    def trains(self) -> str:
        """`rightly`, `as listed` (wrong only as a list of known findings says), `wrongly`,
        `does not run`, or '' where that is not known."""
        if self.state is State.NOT_RUN:
            return "does not run"
        if self.state is not State.MEASURED or not (self.right or self.wrong):
            return ""
        if wrong_and_unknown(self):
            return "wrongly"
        return "as listed" if self.wrong else "rightly"


@dataclass(frozen=True)
class Point:
    """A metric in a cell. value: None where there is none. samples: where it was measured several
    times."""

    stack: str
    value: Json = None
    samples: tuple[float, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Step:
    """Where a metric moves. before, after: labels of the stacks to its sides. changes: register
    entries that explain it; none is an open question. released: the day of the release that brought
    it, '' where nobody said. library: whose version differs, where it is one alone."""

    before: str
    after: str
    old: Json = None
    new: Json = None
    how: str = "exact"
    changes: tuple[str, ...] = ()
    library: str = ""
    release: str = ""
    released: str = ""


@dataclass(frozen=True)
class Timeline:
    """A metric over the stacks, of one row of the matrix."""

    metric: str
    model: str
    recipe: str
    device: str
    unit: str
    noisy: bool
    points: tuple[Point, ...]
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Table:
    """A matrix. stacks: labels from left to right. rows: (model, recipe, device) is a row of cells,
    in the order of the stacks; of a user's training model is `training:FILE[:FUNCTION]` and recipe
    empty. harness: the digest of the code that measured."""

    stacks: tuple[str, ...]
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    devices: tuple[str, ...]
    rungs: tuple[str, ...]
    cells: tuple[CellEntry, ...]
    timelines: tuple[Timeline, ...] = ()
    stale_accepts: tuple[str, ...] = ()
    harness: str = ""
    schema: int = MATRIX_SCHEMA

    @property
    def rows(self) -> tuple[tuple[CellEntry, ...], ...]:
        """The cells row by row, each row from left to right."""
        rows: dict[tuple[str, str, str], list[CellEntry]] = {}
        for cell in self.cells:
            rows.setdefault((cell.model, cell.recipe, cell.device), []).append(cell)
        return tuple(tuple(row) for row in rows.values())

    @property
    def exit_code(self) -> int:
        """1 a cell is wrong or moved for the worse or unknown; 3 one that should be was not
        measured, or a row that runs nowhere; 0 all right and the same."""
        if any(wrong_and_unknown(cell) or any(m.red for m in cell.moved) for cell in self.cells):
            return 1
        lost = {State.DIED, State.REFUSED, State.UNBUILT, State.PENDING}
        nowhere = any(all(c.state is not State.MEASURED for c in row) for row in self.rows)
        judged = any(c.right or c.same for c in self.cells)
        return 3 if nowhere or not judged or any(c.state in lost for c in self.cells) else 0

    @property
    def size(self) -> str:
        """What was asked: `25 stacks × 7 models`, and what else there is several of."""
        trainings = sum(is_training(model) for model in self.models)
        rows = [(len(self.models) - trainings, "model"), (trainings, "training")]
        parts = [_counted(len(self.stacks), "stack")]
        parts.append(" and ".join(_counted(*row) for row in rows if row[0]))
        several = [(len(self.recipes), "recipe"), (len(self.devices), "device")]
        return " × ".join(parts + [_counted(*each) for each in several if each[0] > 1])

    @property
    def answer(self) -> str:
        """What came of it, in a sentence."""
        count = {state: sum(c.state is state for c in self.cells) for state in State}
        right = sum(c.trains == "rightly" for c in self.cells)
        listed = sum(c.trains == "as listed" for c in self.cells)
        wrong = sum(c.trains == "wrongly" for c in self.cells)
        moved = sum(bool(c.moved) for c in self.cells)
        # What is listed is really wrong: such a cell is never simply right.
        known = f"{listed} with known findings only"
        parts = [f"{right} of {len(self.cells)} cells right", *([known] if listed else [])]
        parts += [f"{wrong} unexpectedly wrong"] if wrong else []
        parts += [f"{moved} moved"] if moved else []
        parts += [
            f"{number} {COUNTED[state]}"
            for state, number in count.items()
            if number and state in COUNTED
        ]
        return f"{', '.join(parts)}."

    @property
    def headline(self) -> str:
        """What was asked and what came of it."""
        return f"{self.size}: {self.answer}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}"


def is_training(model: str) -> bool:
    """Whether a row's name is that of a user's training."""
    return model.startswith("training:")


def wrong_and_unknown(cell: CellEntry) -> bool:
    """Whether a cell misses a truth that no list of expected findings knows of."""
    return any(not wrong.known for wrong in cell.wrong)


def short(value: Json) -> Json:
    """A value for the document: a long one by its beginning."""
    if isinstance(value, str) and len(value) > MOST_OF_A_VALUE:
        return f"{value[:MOST_OF_A_VALUE]}…"
    if isinstance(value, list) and len(value) > 16:
        return [*value[:16], f"… {len(value)} entries"]
    return value


def to_json(table: Table) -> dict[str, Any]:
    """The document as JSON-ready dicts."""
    return {
        "headline": table.headline,
        "exit_code": table.exit_code,
        **asdict(table),
    }


def write_table(table: Table, folder: Path) -> None:
    """Write `matrix.json`, sealed."""
    write_sealed(folder / MATRIX, to_json(table))


def read_table(folder: Path) -> Table:
    """A matrix's document. Raises BadInput where there is none or of another schema, Damaged where
    it is not as it was written."""
    path = folder / MATRIX
    if not path.is_file():
        raise BadInput(f"{folder} holds no {MATRIX}; give the folder of a `harness matrix`.")
    raw = read_sealed(path, "measure the matrix again")
    if raw.get("schema") != MATRIX_SCHEMA:
        raise BadInput(f"{path} has schema {raw.get('schema')!r}; measure the matrix again.")
    told = {name: value for name, value in raw.items() if name not in {"headline", "exit_code"}}
    try:
        return build(Table, told)
    except ValueError as error:
        raise Damaged(f"{path} is no complete matrix ({error}); measure it again.") from error
