"""The files between the worlds: what a measuring process is asked, what it answers of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.records.context import Context, context_from_json, context_to_json
from harness.records.files import read_object, write_json
from harness.records.typed import Rules, build

# History: 1 (2026-11) first format.
JOB_SCHEMA = 1


@dataclass(frozen=True)
class ResolveJob:
    """Find or download a model, look through data, see that a device is there. answer: the file
    that takes the Resolved. columns, splits: as in Context."""

    model: str
    data: str
    device: str
    answer: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeJob:
    """Measure the rungs of a context that have no record yet. limit_s: seconds for one rung."""

    context: Context
    rungs: tuple[str, ...]
    limit_s: float


@dataclass(frozen=True)
class CrossingJob:
    """Read the adapters in these folders, by the name of the side that saved each."""

    context: Context
    folders: Mapping[str, Path]
    limit_s: float


@dataclass(frozen=True)
class Try:
    """One rung measured under a fault. quantity: its name in records/power.py, "" for none. size:
    in the quantity's unit. out: the folder that takes the record. training: a finished run's, to
    take in place of another one."""

    quantity: str
    rung: str
    size: float
    out: Path
    training: Path | None = None


@dataclass(frozen=True)
class PlantedJob:
    """Measure a rung under each of several faults."""

    context: Context
    tries: tuple[Try, ...]
    limit_s: float


Job = ResolveJob | ProbeJob | CrossingJob | PlantedJob
_KINDS: Mapping[str, type[Job]] = {
    "resolve": ResolveJob,
    "probe": ProbeJob,
    "crossing": CrossingJob,
    "planted": PlantedJob,
}


@dataclass(frozen=True)
class Resolved:
    """The model as a stack found it. pairs: sentences about installed releases that do not work
    together, or ''. data_digest: of all that was read of the data, '' for the catalogue."""

    name: str
    snapshot: Path
    has_weights: bool
    digest: str
    vocabulary: str
    family: str
    pairs: str
    data_digest: str = ""


def write_job(path: Path, job: Job) -> None:
    """Write a job file."""
    kind = next(name for name, of_kind in _KINDS.items() if isinstance(job, of_kind))
    raw: dict[str, Any] = _plain(asdict(job))
    if not isinstance(job, ResolveJob):
        raw["context"] = context_to_json(job.context)
    write_json(path, {"schema": JOB_SCHEMA, "kind": kind, **raw})


def read_job(path: Path) -> Job:
    """A job file. Raises BadInput naming one that is damaged or of another schema."""
    raw = read_object(path)
    kind = _KINDS.get(str(raw.get("kind")))
    if raw.get("schema") != JOB_SCHEMA or kind is None:
        raise BadInput(f"{path} is no job of schema {JOB_SCHEMA}; measure again.")
    try:
        fields = {name: value for name, value in raw.items() if name not in {"schema", "kind"}}
        if kind is not ResolveJob:
            context = fields.get("context")
            if not isinstance(context, Mapping):
                raise ValueError("context is no object")
            fields["context"] = context_from_json(context)
        return build(kind, fields)
    except ValueError as error:
        raise BadInput(f"{path} is not a complete job ({error}); measure again.") from error


def write_resolved(path: Path, resolved: Resolved) -> None:
    """Write a stack's answer."""
    write_json(path, _plain(asdict(resolved)))


def read_resolved(path: Path) -> Resolved:
    """A stack's answer. Raises BadInput naming a file that is damaged."""
    try:
        return build(Resolved, read_object(path), Rules())
    except ValueError as error:
        raise BadInput(f"{path} is no complete answer ({error}); start anew.") from error


def _plain(raw: Any) -> Any:
    """Paths as texts."""
    if isinstance(raw, Mapping):
        return {key: _plain(value) for key, value in raw.items()}
    if isinstance(raw, tuple | list):
        return [_plain(value) for value in raw]
    return str(raw) if isinstance(raw, Path) else raw
