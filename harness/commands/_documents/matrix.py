"""What `harness matrix` prints, and its matrix.json."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import FIRST
from harness.judging.matrix.forecast import Forecast
from harness.judging.matrix.table import MATRIX_SCHEMA, CellEntry, Timeline


@dataclass(frozen=True)
class MatrixForecast:
    """`harness matrix --dry-run`. workers: cells at once."""

    forecast: Forecast
    workers: int
    schema: int = FIRST


@dataclass(frozen=True)
class MatrixFile:
    """matrix.json (matrix.table.Table), its answer first."""

    headline: str
    exit_code: int
    stacks: tuple[str, ...]
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    devices: tuple[str, ...]
    rungs: tuple[str, ...]
    cells: tuple[CellEntry, ...]
    timelines: tuple[Timeline, ...]
    stale_accepts: tuple[str, ...]
    harness: str
    schema: int


@dataclass(frozen=True)
class MatrixMeasured(MatrixFile):
    """`harness matrix`: matrix.json, and the folder that it lies in."""

    matrix_schema: int = MATRIX_SCHEMA
    out: str = ""
