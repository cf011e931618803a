"""Write the schemas of every document: `python -m suites.write_schemas`.

Each is worked out from the frozen type that is written or printed, and is named by its version:
`harness/schemas/files/record-3.json`, `harness/schemas/printed/compare-2.json`. They are committed,
so that a change of a format shows in a review.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.commands._documents.matrix import MatrixFile
from harness.commands._documents.printed import PRINTED, RUN_FILE
from harness.judging.audit.golden import GOLDEN_SCHEMA as AUDIT_GOLDEN_SCHEMA
from harness.judging.audit.golden import AuditGolden
from harness.judging.bisect.answers import BISECT_SCHEMA, Bisection
from harness.judging.compare.document import COMPARISON_SCHEMA, Document
from harness.judging.compare.plan import PLAN_SCHEMA, Asked
from harness.judging.compare.watched import WATCHED_SCHEMA, Watched
from harness.judging.goldens.bands import BANDS_SCHEMA
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import GOLDEN_SCHEMA, BandKind, Golden
from harness.judging.goldens.kinds import KINDS_SCHEMA, Kinds
from harness.judging.matrix.table import MATRIX_SCHEMA
from harness.records.audit import AUDIT_SCHEMA, Audit, Opened, RungChecks
from harness.records.beside import (
    GENERATIONS_SCHEMA,
    OWN_TRUTHS_SCHEMA,
    SUPERVISION_SCHEMA,
    Generations,
    OwnTruths,
    Supervision,
)
from harness.records.context import CONTEXT_SCHEMA, Context
from harness.records.files import write_json
from harness.records.folders import SCHEMAS
from harness.records.power import POWER_SCHEMA, PowerTable
from harness.records.record import SCHEMA_VERSION, Record
from harness.records.schema import Form, json_schema
from harness.records.seals import SCHEMA_VERSION as SEAL_SCHEMA
from harness.records.seals import Seal
from suites.matrix_boundaries import RELEASES_SCHEMA, Releases
from suites.write_families import FAMILY_SCHEMA, Row
from suites.write_matrix import TIME_SCHEMA, Took


@dataclass(frozen=True)
class ExpectedFile:
    """golden/expected/<stack>.json, written by hand."""

    findings: tuple[Expected, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    inherits: bool = False


@dataclass(frozen=True)
class ListedBand:
    """A metric's band, with where it comes from."""

    metric: str
    kind: BandKind
    limit: float
    reason: str
    origin: str
    detectable: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A metric that is not compared, and why."""

    metric: str
    reason: str


@dataclass(frozen=True)
class BandsFile:
    """golden/bands/compare.json, written by hand."""

    bands: tuple[ListedBand, ...]
    left_out: tuple[LeftOut, ...]


BY_HAND = {"sealed": True, "whole": False, "numbered": True}
# By the file's kind: its type and its form.
FILES: Mapping[str, tuple[type, Form]] = {
    "audit": (Audit, Form(AUDIT_SCHEMA, sealed=True)),
    "audit-golden": (AuditGolden, Form(AUDIT_GOLDEN_SCHEMA, sealed=True)),
    "audit-opened": (Opened, Form(AUDIT_SCHEMA, sealed=True)),
    "audit-rung": (RungChecks, Form(AUDIT_SCHEMA, sealed=True)),
    "bands": (BandsFile, Form(BANDS_SCHEMA, **BY_HAND)),
    "bisect": (Bisection, Form(BISECT_SCHEMA, sealed=True)),
    "comparison": (Document, Form(COMPARISON_SCHEMA, sealed=True)),
    "context": (Context, Form(CONTEXT_SCHEMA, sealed=True, numbered=True)),
    "expected": (ExpectedFile, Form(GOLDEN_SCHEMA, **BY_HAND)),
    "family": (Row, Form(FAMILY_SCHEMA, sealed=True)),
    "generations": (Generations, Form(GENERATIONS_SCHEMA, sealed=True)),
    "golden": (
        Golden,
        Form(
            GOLDEN_SCHEMA,
            sealed=True,
            numbered=True,
            without=frozenset({"path", "between", "otherwise"}),
            optional=frozenset({"recipes", "data"}),
        ),
    ),
    "kinds": (Kinds, Form(KINDS_SCHEMA, **BY_HAND)),
    "matrix": (MatrixFile, Form(MATRIX_SCHEMA, sealed=True)),
    "matrix-releases": (Releases, Form(RELEASES_SCHEMA, sealed=True)),
    "matrix-time": (Took, Form(TIME_SCHEMA, sealed=True)),
    "plan": (Asked, Form(PLAN_SCHEMA, sealed=True, optional=frozenset({"columns", "splits"}))),
    "power": (PowerTable, Form(POWER_SCHEMA, sealed=True)),
    "record": (Record, Form(SCHEMA_VERSION, sealed=True)),
    "run": (RUN_FILE[0], Form(RUN_FILE[1], sealed=True)),
    "seal": (Seal, Form(SEAL_SCHEMA)),
    "supervision": (Supervision, Form(SUPERVISION_SCHEMA, sealed=True)),
    "watch": (Watched, Form(WATCHED_SCHEMA, sealed=True)),
    "truths": (OwnTruths, Form(OWN_TRUTHS_SCHEMA, sealed=True)),
}


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema by its path below harness/schemas."""
    for name, (kind, form) in FILES.items():
        title = f"harness file: {name}, schema {form.version}"
        yield f"files/{name}-{form.version}.json", json_schema(kind, title, form)
    for name, (kind, version) in PRINTED.items():
        title = f"harness {name.replace('-', ' ')} --json, schema {version}"
        yield f"printed/{name}-{version}.json", json_schema(kind, title, Form(version))


def write(root: Path = SCHEMAS) -> Iterator[Path]:
    """Write every schema; the files."""
    for name, schema in schemas():
        write_json(root / name, schema)
        yield root / name


if __name__ == "__main__":
    for path in write():
        print(f"wrote {path}")
