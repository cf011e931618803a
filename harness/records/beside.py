"""What a measurement leaves beside its records: typed, versioned.

The token map of a training sample, the texts that were generated, and the course of a training, for
people to look at; and what the oracles say of a user's own samples, by which they are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import BadInput
from harness.records.files import read_json, read_object, write_json
from harness.records.seals import sealed, unsealed
from harness.records.typed import STRICT, Json, Rules, build

# History: 1 (2026-11) first format; the first token maps have no number.
SUPERVISION_SCHEMA = 1
# History: 1 (2026-11) first format.
GENERATIONS_SCHEMA = 1
# History: 1 (2026-11) first format.
OWN_TRUTHS_SCHEMA = 1
MEND = "measure again"

T = TypeVar("T")


@dataclass(frozen=True)
class Token:
    """One token of a sample. kind: `trained`, `masked` or `image`. role: whose content it is,
    `control` or `padding`."""

    text: str
    kind: str
    role: str = ""


@dataclass(frozen=True)
class Supervision:
    """Which tokens of one training sample the loss looks at. sample: which one, in words."""

    sample: str
    tokens: tuple[Token, ...]
    schema: int = SUPERVISION_SCHEMA


@dataclass(frozen=True)
class ProductTexts:
    """What was written for one held-out product. image: its picture's path beside the file.
    attributes: what only the picture shows, None where nobody knows. base, tuned: texts by
    decoding."""

    id: str
    name: str
    category: str
    reference: str
    base: Mapping[str, str]
    tuned: Mapping[str, str]
    attributes: Mapping[str, str] | None = None
    image: str = ""
    template: str = ""


@dataclass(frozen=True)
class Generations:
    """The texts of all held-out products, in the data's order."""

    products: tuple[ProductTexts, ...]
    schema: int = GENERATIONS_SCHEMA


@dataclass(frozen=True)
class Point:
    """The loss (nats per token) of an optimizer step."""

    step: float
    loss: float


@dataclass(frozen=True)
class TrainingCourse:
    """What a finished training's `run.json` says to people; it says more to the probes. spec: its
    own words."""

    curve: tuple[Point, ...]
    spec: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class OwnTruth:
    """What a metric must be for a user's own samples, by case, and why. No cases: nobody can tell;
    `reason` says why not. within: how far a number may be off, for one that is recorded rounded."""

    rung: str
    metric: str
    cases: Mapping[str, Json]
    origin: str
    reason: str
    within: float = 0.0


@dataclass(frozen=True)
class OwnTruths:
    """The truths of the samples of one data source under one recipe (its digest)."""

    data_digest: str
    family: str
    recipe: str
    truths: tuple[OwnTruth, ...]
    schema: int = OWN_TRUTHS_SCHEMA


def own_truths_path(run: Path) -> Path:
    """Where a run on data of the user's own keeps what the oracles say of its samples."""
    return run / "truths.json"


def write_own_truths(truths: OwnTruths, run: Path) -> None:
    """Write them, sealed: they decide a verdict."""
    write_json(own_truths_path(run), sealed(asdict(truths)))


def read_own_truths(run: Path) -> OwnTruths | None:
    """What the oracles said of a run's samples; None where it has none of the user's own.

    Raises BadInput naming a file that is not complete, Damaged where it is not as it was written.
    """
    path = own_truths_path(run)
    if not path.is_file():
        return None
    raw = unsealed(read_object(path), path, MEND)
    try:
        truths = build(OwnTruths, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not complete ({error}); {MEND}.") from error
    if truths.schema != OWN_TRUTHS_SCHEMA:
        raise BadInput(f"{path} has schema {truths.schema}; {MEND}.")
    return truths


def supervision_path(run: Path) -> Path:
    """Where a run keeps the token map."""
    return run / "work" / "labels" / "supervision.json"


def generations_path(run: Path) -> Path:
    """Where a run keeps its texts; the pictures lie below the same folder."""
    return run / "work" / "generation" / "generations.json"


def course_path(run: Path) -> Path:
    """Where a run keeps its training's summary."""
    return run / "training" / "run.json"


def write_supervision(supervision: Supervision, run: Path) -> None:
    """Write the token map of a run."""
    write_json(supervision_path(run), asdict(supervision))


def write_generations(generations: Generations, run: Path) -> Path:
    """Write the texts of a run; returns the file."""
    write_json(generations_path(run), asdict(generations))
    return generations_path(run)


def read_supervision(run: Path) -> Supervision:
    """The token map of a run. Raises BadInput naming a file that is not there or not complete."""
    return _read(Supervision, supervision_path(run), SUPERVISION_SCHEMA)


def read_generations(run: Path) -> Generations:
    """The texts of a run. Raises BadInput naming a file that is not there or not complete."""
    return _read(Generations, generations_path(run), GENERATIONS_SCHEMA)


def read_course(run: Path) -> TrainingCourse:
    """The course of a run's training. Raises BadInput naming a file that is not complete."""
    return _read(TrainingCourse, course_path(run), None, Rules(more=True))


def _read(kind: type[T], path: Path, schema: int | None, rules: Rules = STRICT) -> T:
    raw = read_json(path)
    named = f"{path.parent.name}/{path.name}"
    if schema is not None and isinstance(raw, Mapping) and raw.get("schema", schema) != schema:
        raise BadInput(f"{named} has schema {raw['schema']!r}; measure again.")
    try:
        return build(kind, raw, rules)
    except ValueError as error:
        raise BadInput(f"{named} is not complete ({error}); measure again.") from error
