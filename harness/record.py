"""What a probe leaves behind: frozen types and their versioned JSON.

A record holds the metrics of one rung, measured once on one stack. It never judges. Reading a
record needs only the standard library and, for the tensors beside it, numpy and safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from harness.errors import BadInput, OutOfSpace
from harness.typed import Rules, build, finite

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# History: 1 (2026-11) first format.
SCHEMA_VERSION = 1

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
class Failure:
    """An error met while measuring: exception type, first line of its message, file:line."""

    type: str
    message: str
    where: str


@dataclass(frozen=True)
class Metric:
    """One measured value.

    name: snake_case without the rung. case: names one of several inputs of the same metric.
    value: JSON, finite; for a tensor {"digest", "shape", "dtype", "key"} with the data in the
    record's safetensors file. unit: "1", "bytes", "s", "tokens", "text", ... samples: raw
    repeated values where there are several. volatile: times and the like, which differ between
    two runs by nature. reason: why NOT_RUN.
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

    @property
    def metric_id(self) -> str:
        """`<rung>.<metric>`."""
        return f"{self.rung}.{self.name}"

    @property
    def finding_id(self) -> str:
        """`<rung>.<metric>[.<case>]`, stable across runs and machines."""
        return self.metric_id if self.case is None else f"{self.metric_id}.{self.case}"


@dataclass(frozen=True)
class Provenance:
    """Where a record comes from; everything a comparison must check before it compares."""

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


def text_digest(text: str | bytes) -> str:
    """First 16 hex digits of the SHA-256."""
    raw = text.encode("utf-8") if isinstance(text, str) else text
    return hashlib.sha256(raw).hexdigest()[:16]


def json_digest(value: object) -> str:
    """Digest of the canonical JSON of a value."""
    return text_digest(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def write_atomically(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, so a reader never sees half a file.

    Raises OutOfSpace where the disk is full, BadInput where the file cannot be written.
    """
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; the results are as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        if error.errno in {28, 122}:
            raise OutOfSpace(
                f"No room left on the disk for {path}; free some space and run the same command "
                "with --resume."
            ) from error
        raise BadInput(f"{path} cannot be written ({error.strerror}).") from error


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically; refuses NaN and infinities (ValueError)."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, as in a path that is no UTF-8, becomes JSON's own escape of it.
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path, mend: str = "delete it and measure again") -> Any:
    """Read a JSON file. Raises BadInput naming the file, and how to mend it, where it is missing
    or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error
    # A number of thousands of digits is a ValueError, brackets of thousands of levels the other.
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not readable JSON ({error}); {mend}.") from error


def read_object(path: Path, mend: str = "delete it and measure again") -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises BadInput as read_json, and for no object."""
    value = read_json(path, mend)
    if not isinstance(value, dict):
        raise BadInput(f"{path} holds no JSON object; {mend}.")
    return value


def to_json(record: Record) -> dict[str, Any]:
    """The record as JSON-ready dicts. Raises ValueError on a non-finite value."""
    for metric in record.metrics:
        finite(metric.value, metric.finding_id)
    return asdict(record)


# What is never left to a default: a cut-off metric would pass for one that was measured well.
_WHOLE = Rules(frozenset({"seconds", "how", "direction", "status", "samples"}))


def from_json(raw: object, where: str = "record") -> Record:
    """Build a record. Raises BadInput naming `where`: another schema, a field that is missing or
    of another type, a number that is not finite, a finding that is there twice or of another rung.
    """
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
    """Write `<directory>/<rung>.json` atomically and return its path."""
    path = directory / f"{record.rung}.json"
    write_json(path, to_json(record))
    return path


def read_record(path: Path) -> Record:
    """Read one record file, `<rung>.json`. Raises BadInput naming the file."""
    record = from_json(read_json(path), str(path))
    if record.rung != path.stem:
        raise BadInput(
            f"{path} is not a complete record (its rung is {record.rung!r}); measure again."
        )
    return record


def read_records(directory: Path) -> dict[str, Record]:
    """All records of a directory by rung, in ladder order. Raises BadInput where there is none."""
    found = {r: read_record(p) for r in RUNGS if (p := directory / f"{r}.json").is_file()}
    if not found:
        raise BadInput(f"{directory} holds no records (<rung>.json); give a folder that does.")
    return found
