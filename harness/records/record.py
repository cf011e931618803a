"""What a probe leaves behind: frozen types and their versioned JSON.

A record holds the metrics of one rung, measured once on one stack. It never judges. Reading one
needs only the standard library; the tensors beside it are read by harness.records.tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack
from harness.records.failure import Failure
from harness.records.files import read_json
from harness.records.seals import KEY as SEAL
from harness.records.seals import unsealed, write_sealed
from harness.records.typed import Json, Rules, build, finite
from harness.records.upgrade import upgraded

# History: 1 (2026-11) first format. 2 (2026-11) a failure says which installed releases do not
# work together, and how its process ended; what was not run says what it lacked (upgrade.py); the
# file carries its seal. 3 (2026-11) warnings of a call that could not begin are not run.
FIRST_SCHEMA = 1
SCHEMA_VERSION = 3

RUNGS = (
    "environment",
    "interface",
    "text",
    "ids",
    "images",
    "labels",
    "model",
    "inputs",
    "forward",
    "backward",
    "update",
    "trajectory",
    "generation",
    "cost",
)


# The only metric of a rung whose probe failed, or did not run, as a whole.
PROBE = "probe"


class How(StrEnum):
    """How a value was obtained; never blurred."""

    MEASURED = "measured"
    PREDICTED = "predicted"
    EMULATED = "emulated"


class Direction(StrEnum):
    """Which way is better, or none: a metric without a direction can only be SAME or CHANGED."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


class Status(StrEnum):
    """Whether the measurement happened."""

    OK = "OK"
    BROKEN = "BROKEN"
    NOT_RUN = "NOT_RUN"


class Verdict(StrEnum):
    """The outcome of a comparison."""

    SAME = "SAME"
    CHANGED = "CHANGED"
    IMPROVED = "IMPROVED"
    WORSE = "WORSE"
    BROKEN = "BROKEN"
    NOT_COMPARABLE = "NOT_COMPARABLE"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True)
class Metric:
    """One measured value.

    name: snake_case without the rung. case: names one of several inputs of the same metric.
    value: JSON, finite; for a tensor {"digest", "shape", "dtype", "key"} with the data in the
    record's safetensors file. unit: "1", "bytes", "s", "tokens", "text", ... samples: raw
    repeated values where there are several. volatile: times and the like, which differ between
    two runs by nature. reason: why NOT_RUN, for people. lack: what it was lacking, blocked_by: the
    finding that broke where it lacked that.
    """

    rung: str
    name: str
    case: str | None = None
    value: Json = None
    unit: str = "1"
    how: How = How.MEASURED
    direction: Direction = Direction.NONE
    status: Status = Status.OK
    failure: Failure | None = None
    reason: str | None = None
    samples: tuple[float, ...] = ()
    volatile: bool = False
    note: str | None = None
    lack: Lack | None = None
    blocked_by: str = ""

    @property
    def metric_id(self) -> str:
        """`<rung>.<metric>`."""
        return f"{self.rung}.{self.name}"

    @property
    def finding_id(self) -> str:
        """`<rung>.<metric>[.<case>]`, stable across runs and machines."""
        return self.metric_id if self.case is None else f"{self.metric_id}.{self.case}"

    @property
    def is_whole_probe(self) -> bool:
        """Whether it stands for a probe that failed, or did not run, as a whole."""
        return self.name == PROBE

    @property
    def error(self) -> str:
        """The failure in words, '' without one."""
        return f"{self.error_without_place} ({self.failure.where})" if self.failure else ""

    @property
    def error_without_place(self) -> str:
        """The same without file and line. Where a whole probe broke it begins with what does not
        work together."""
        if self.failure is None:
            return ""
        mismatches = self.failure.mismatches if self.is_whole_probe else ()
        words = [mismatch.sentence for mismatch in mismatches] + [self.failure.message]
        return f"{self.failure.type}: {' '.join(words)}"


@dataclass(frozen=True)
class Provenance:
    """Where a record comes from; everything a comparison must check before it compares.

    family: of the model; one of the first schema that names none is of the first there was.
    data_digest: of the content of data of the user's own.
    """

    stack: str
    model: str
    data: str
    device_key: str
    recipe: str
    samples: str
    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    platform: str = ""
    threads: int = 1
    seed: int = 0
    commit: str = ""
    created: str = ""
    model_digest: str = ""
    vocabulary: str = ""
    faults: tuple[str, ...] = ()
    family: str = ""
    data_digest: str = ""


@dataclass(frozen=True)
class Record:
    """All metrics of one rung. seconds: wall time of the probe."""

    rung: str
    provenance: Provenance
    metrics: tuple[Metric, ...]
    seconds: float = 0.0
    schema: int = SCHEMA_VERSION

    def find(self, name: str, case: str | None = None) -> Metric:
        """The metric of that name and case. Raises KeyError naming both."""
        for metric in self.metrics:
            if metric.name == name and metric.case == case:
                return metric
        raise KeyError(f"{self.rung}.{name}" + (f".{case}" if case else ""))


def to_json(record: Record) -> dict[str, Any]:
    """The record as JSON-ready dicts. Raises ValueError on a non-finite value."""
    for metric in record.metrics:
        finite(metric.value, metric.finding_id)
    return asdict(record)


# What is never left to a default: a cut-off metric would pass for one that was measured well.
_WHOLE = Rules(frozenset({"seconds", "how", "direction", "status", "samples"}))


def from_json(raw: object, where: str = "record") -> Record:
    """Build a record, one of an older schema too. Raises BadInput naming `where`: another schema, a
    field that is missing or of another type, a number that is not finite, a finding that is there
    twice or of another rung.
    """
    if isinstance(raw, Mapping):
        raw = upgraded(raw)
    schema = raw.get("schema") if isinstance(raw, Mapping) else SCHEMA_VERSION
    if schema != SCHEMA_VERSION:
        raise BadInput(
            f"{where} has record schema {schema!r}, this harness reads {SCHEMA_VERSION}; "
            "measure again with this version."
        )
    try:
        record = build(Record, raw, _WHOLE)
        seen: set[str] = set()
        for metric in record.metrics:
            if metric.rung != record.rung:
                raise ValueError(f"{metric.finding_id} is of another rung than {record.rung}")
            if metric.finding_id in seen:
                raise ValueError(f"{metric.finding_id} is there twice")
            seen.add(metric.finding_id)
        return record
    except ValueError as error:
        raise BadInput(f"{where} is not a complete record ({error}); measure again.") from error


def write_record(record: Record, directory: Path) -> Path:
    """Write `<directory>/<rung>.json` atomically, the last of the rung's files: its seal covers
    itself and the tensors beside it. Returns its path."""
    path = directory / f"{record.rung}.json"
    tensors = path.with_suffix(".safetensors")
    write_sealed(path, to_json(record), [tensors.name] if tensors.is_file() else [])
    return path


def read_record(path: Path) -> Record:
    """Read one record file, `<rung>.json`. Raises BadInput naming the file, Damaged where it or the
    tensors beside it are not as they were written."""
    raw = read_json(path)
    content = {k: v for k, v in raw.items() if k != SEAL} if isinstance(raw, dict) else raw
    record = from_json(content, str(path))
    if record.rung != path.stem:
        raise BadInput(
            f"{path} is not a complete record (its rung is {record.rung!r}); measure again."
        )
    # Records of the first schema lie on users' disks as they were written, without a seal.
    if SEAL in raw or raw.get("schema") != FIRST_SCHEMA:
        unsealed(raw, path, "measure again", path.with_suffix(".safetensors"))
    return record


def read_records(directory: Path) -> dict[str, Record]:
    """All records of a directory by rung, in ladder order. Raises BadInput where there is none."""
    records = {r: read_record(p) for r in RUNGS if (p := directory / f"{r}.json").is_file()}
    if not records:
        raise BadInput(f"{directory} holds no records (<rung>.json); give a folder that does.")
    return records
