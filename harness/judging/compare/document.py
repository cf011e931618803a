"""`comparison.json`: a comparison as one frozen document, written whole and read back checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack
from harness.judging.compare.comparison import Comparison, Finding, is_directory
from harness.judging.compare.lost import why_lost
from harness.judging.compare.pairs import Side
from harness.judging.compare.second import SecondLook
from harness.judging.goldens.conditions import Condition
from harness.judging.goldens.golden import Band, BandKind
from harness.records.record import Status, Verdict
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Json, Rules, build

COMPARISON = "comparison.json"
# History: 1 (2026-11) first format; a side's lack and blocked_by, a lost value's conditions and a
# missing rung's sides came later, with defaults. 2 (2026-11) sealed.
COMPARISON_SCHEMA = 2
READ = (1, COMPARISON_SCHEMA)


@dataclass(frozen=True)
class FactsEntry:
    """What the sides share; of two devices, models, … both are named, with ` / ` between."""

    model: str
    data: str
    model_digest: str
    device_key: str
    vocabulary: str = ""
    recipe: str = ""
    family: str = ""


@dataclass(frozen=True)
class BandEntry:
    """What a value may move by, and where that comes from."""

    kind: BandKind
    limit: float
    origin: str

    def as_band(self) -> Band:
        """The same as a golden has it."""
        return Band(self.kind, self.limit, self.origin)


@dataclass(frozen=True)
class SideEntry:
    """One side of a finding (pairs.Side)."""

    status: Status | None
    value: Json = None
    how: str = ""
    error: str = ""
    right: bool | None = None
    lack: Lack | None = None
    blocked_by: str = ""


@dataclass(frozen=True)
class FindingEntry:
    """A finding. known: names of register entries. cause: the finding that it follows from, ''
    where it stands for itself; then it has a severity."""

    id: str
    rung: str
    metric: str
    standing: str
    old: SideEntry
    new: SideEntry
    band: BandEntry
    cause: str
    accepted: bool
    case: str = ""
    verdict: Verdict | None = None
    broken: str = ""
    gap: float | None = None
    known: tuple[str, ...] = ()
    severity: str = ""
    cause_note: str = ""


@dataclass(frozen=True)
class MissingEntry:
    """A rung that could not be compared at all, and why. sides: those without a record of it,
    `OLD`, `NEW`."""

    rung: str
    reason: str
    sides: tuple[str, ...] = ()


@dataclass(frozen=True)
class LostEntry:
    """A value that was not compared, and why; conditions: what its sides were measured with and
    differs."""

    id: str
    reason: str
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class LookEntry:
    """A value that may have been noise, OLD's and NEW's, as it was seen first and measured again.
    came_back: where not, it is spurious and no finding."""

    id: str
    first: tuple[Json, Json]
    again: tuple[Json, Json]
    came_back: bool


@dataclass(frozen=True)
class Document:
    """A comparison. old_given, new_given: the sides as the user gave them. packages: OLD's and
    NEW's version by name, of what differs. findings: in ladder order. experiments: the values that
    each took from OLD."""

    old: str
    new: str
    facts: FactsEntry
    packages: Mapping[str, tuple[str, str]]
    findings: tuple[FindingEntry, ...]
    old_given: str = ""
    new_given: str = ""
    headline: str = ""
    exit_code: int = 0
    established: bool = False
    rungs: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[MissingEntry, ...] = ()
    not_compared: tuple[LostEntry, ...] = ()
    stale_accepts: tuple[str, ...] = ()
    experiments: tuple[tuple[str, ...], ...] = ()
    looks: tuple[LookEntry, ...] = ()
    schema: int = COMPARISON_SCHEMA

    @property
    def between_directories(self) -> bool:
        """Whether a side is a directory of records. Older documents say only the stacks."""
        sides = (self.old_given or self.old, self.new_given or self.new)
        return any(map(is_directory, sides))


def document_of(comparison: Comparison) -> Document:
    """The document of a comparison."""
    return Document(
        old=comparison.old,
        new=comparison.new,
        facts=FactsEntry(**comparison.facts),
        packages={name: (a, b) for name, a, b in comparison.packages},
        findings=tuple(map(_finding, comparison.findings)),
        old_given=comparison.given[0],
        new_given=comparison.given[1],
        headline=comparison.headline,
        exit_code=comparison.exit_code,
        established=comparison.established,
        rungs=comparison.rungs,
        counts=dict(Counter(pair.verdict.value for pair in comparison.pairs)),
        missing=tuple(MissingEntry(m.rung, m.reason, m.sides) for m in comparison.missing),
        not_compared=tuple(
            LostEntry(p.finding, why_lost(p), p.conditions) for p in comparison.lost
        ),
        stale_accepts=comparison.stale_accepts,
        experiments=tuple(experiment.given for experiment in comparison.experiments),
        looks=tuple(map(_look, comparison.looks)),
    )


def _finding(finding: Finding) -> FindingEntry:
    pair = finding.pair
    return FindingEntry(
        id=pair.finding,
        rung=pair.rung,
        metric=pair.metric,
        case=pair.case,
        verdict=pair.verdict,
        standing=pair.standing,
        broken=pair.broken,
        old=_side(pair.old),
        new=_side(pair.new),
        gap=pair.gap,
        band=BandEntry(pair.band.kind, pair.band.limit, pair.origin),
        known=tuple(change.name for change in finding.known),
        severity="" if finding.cause else finding.severity,
        cause=finding.cause,
        cause_note=finding.cause_note,
        accepted=finding.accepted,
    )


def _look(look: SecondLook) -> LookEntry:
    first, again = ((pair.old.value, pair.new.value) for pair in (look.first, look.again))
    return LookEntry(look.first.finding, first, again, look.came_back)


def _side(side: Side) -> SideEntry:
    s = side
    return SideEntry(s.status, s.value, s.how, s.error, s.right, s.lack, s.blocked_by)


def to_json(document: Document) -> dict[str, Any]:
    """The document as JSON-ready dicts."""
    return {"schema": document.schema, **asdict(document)}


def write_comparison(document: Document, folder: Path) -> None:
    """Write `comparison.json`, sealed."""
    write_sealed(folder / COMPARISON, to_json(document))


def read_comparison(folder: Path) -> Document:
    """A comparison's document. Raises BadInput where there is none, or of another schema, Damaged
    where it is not as it was written."""
    path = folder / COMPARISON
    if not path.is_file():
        raise BadInput(f"{folder} holds no {COMPARISON}; give the folder of a `harness compare`.")
    raw = read_sealed(path, "compare again", unsealed_schemas=READ[:1])
    if raw.get("schema") not in READ:
        raise BadInput(f"{path} has schema {raw.get('schema')!r}; compare again.")
    try:
        document = build(Document, raw, Rules(more=True))
        torn = [name for name, versions in document.packages.items() if len(versions) != 2]
        if torn:
            raise ValueError(f"packages.{torn[0]} has not two versions")
    except ValueError as error:
        raise BadInput(f"{path} is not a complete comparison ({error}); compare again.") from error
    return document
