"""What `--json` prints, a frozen type for each document: its fields are the format.

The committed schemas (harness/schemas) are worked out from these types and from those of the files
that a run leaves; `python -m suites.write_schemas` writes them anew. Whoever changes a type here
raises its document's version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.judging.bisect.answers import BISECT_SCHEMA, Bisection
from harness.judging.compare.document import COMPARISON_SCHEMA, Document
from harness.judging.environments.inspection import Line
from harness.judging.environments.newest import Held, Moved
from harness.judging.goldens.judgement import Facts, Judged, Judgement
from harness.judging.goldens.listing import Listed, Stray
from harness.judging.matrix.forecast import Forecast
from harness.judging.matrix.table import MATRIX_SCHEMA, CellEntry, Timeline
from harness.judging.report.audit.kept import SinceKept
from harness.judging.report.audit.view import AuditVerdict
from harness.records.audit import Audit
from harness.records.beside import SUMMARY_SCHEMA
from harness.records.context import Context
from harness.records.record import Record

# History of each document: 1 (2026-11) first format. Of an audit 2 (2026-11): what a check is now
# is `is_now`, a name that a type can have.
FIRST, AUDITED = 1, 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judgement (goldens.judgement.Judgement)."""

    headline: str
    exit_code: int
    facts: Facts
    unmeasured: tuple[str, ...]
    stale_accepts: tuple[str, ...]
    items: tuple[Judged, ...]


def verdict_of(judgement: Judgement) -> Verdict:
    """The judgement as a document has it."""
    return Verdict(
        headline=judgement.headline,
        exit_code=judgement.exit_code,
        facts=judgement.facts,
        unmeasured=judgement.unmeasured,
        stale_accepts=judgement.stale_accepts,
        items=judgement.items,
    )


@dataclass(frozen=True, kw_only=True)
class ReportedFolder(Verdict):
    """One folder of records, judged."""

    directory: str


@dataclass(frozen=True)
class Reported:
    """`harness report`."""

    reports: tuple[ReportedFolder, ...]
    schema: int = FIRST


@dataclass(frozen=True, kw_only=True)
class Ran(Verdict):
    """`harness run`, and its run.json. run: the name of its folder."""

    run: str
    context: Context
    schema: int = FIRST


@dataclass(frozen=True, kw_only=True)
class Checked(Verdict):
    """`harness golden check`."""

    schema: int = FIRST


@dataclass(frozen=True)
class GoldensListed:
    """`harness golden list`."""

    goldens: tuple[Listed, ...]
    stray: tuple[Stray, ...]
    schema: int = FIRST


@dataclass(frozen=True)
class GoldensWritten:
    """`harness golden update` and `calibrate`. written: paths."""

    written: tuple[str, ...]
    schema: int = FIRST


@dataclass(frozen=True)
class Compared(Document):
    """`harness compare`: comparison.json, and the folder that it lies in."""

    comparison_schema: int = COMPARISON_SCHEMA
    out: str = ""


@dataclass(frozen=True)
class Bisected(Bisection):
    """`harness bisect`: bisect.json, and the folder that it lies in."""

    bisect_schema: int = BISECT_SCHEMA
    out: str = ""


@dataclass(frozen=True)
class Audited:
    """`harness audit`. golden: None where none was kept."""

    audit: Audit
    judgement: AuditVerdict
    golden: SinceKept | None
    schema: int = AUDITED


@dataclass(frozen=True)
class Inspected:
    """`harness doctor`."""

    lines: tuple[Line, ...]
    schema: int = FIRST


@dataclass(frozen=True)
class Probed:
    """`harness probe`. out: the folder. records: by rung."""

    out: str
    records: Mapping[str, Record] = field(default_factory=dict)
    schema: int = FIRST


@dataclass(frozen=True)
class LockWatched:
    """`harness watch`. moved, held: what the index has. broken_by: by import that only the newest
    lock breaks its releases, or why none is named. report: the comparison's folder, '' without
    one."""

    headline: str
    exit_code: int
    moved: tuple[Moved, ...]
    held: tuple[Held, ...]
    broken_by: Mapping[str, str] = field(default_factory=dict)
    report: str = ""
    schema: int = FIRST


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


# By the verb, and the name of its schema's file. What shares its type with a file of a run has that
# file's version.
PRINTED: Mapping[str, tuple[type, int]] = {
    "audit": (Audited, AUDITED),
    "bisect": (Bisected, BISECT_SCHEMA),
    "compare": (Compared, COMPARISON_SCHEMA),
    "doctor": (Inspected, FIRST),
    "golden-check": (Checked, FIRST),
    "golden-list": (GoldensListed, FIRST),
    "golden-update": (GoldensWritten, FIRST),
    "matrix": (MatrixMeasured, MATRIX_SCHEMA),
    "matrix-forecast": (MatrixForecast, FIRST),
    "probe": (Probed, FIRST),
    "report": (Reported, FIRST),
    "run": (Ran, FIRST),
    "watch": (LockWatched, FIRST),
}
# run.json is what `harness run` prints, under the number of its own history.
RUN_FILE = (Ran, SUMMARY_SCHEMA)
