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
from harness.records.context import context_path
from harness.records.files import read_object
from harness.records.record import RUNGS
from harness.records.seals import NAME as MANIFEST
from harness.records.seals import check_file, read_sealed, write_sealed
from harness.records.typed import STRICT, Json, Rules, build

# History: 1 (2026-11) first format; the first token maps have no number. 2 (2026-11) sealed.
SUPERVISION_SCHEMA = 2
# History: 1 (2026-11) first format. 2 (2026-11) sealed, with the pictures that it names.
GENERATIONS_SCHEMA = 2
# History: 1 (2026-11) first format. 2 (2026-11) sealed, with what else of the run must survive.
# 3 (2026-11) what the verdict is worth.
SUMMARY_SCHEMA = 3
UNSEALED = (None, 1)
# History: 1 (2026-11) first format. 2 (2026-11) what known faults give. 3 (2026-12) whether a truth
# is required.
OWN_TRUTHS_SCHEMA = 3
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
    `reason` says why not. within: how far a number may be off, for one that is recorded rounded.
    otherwise: by the name of a known fault, what it makes of a case; None in the first format.
    required: whether its absence counts as a missing measurement."""

    rung: str
    metric: str
    cases: Mapping[str, Json]
    origin: str
    reason: str
    within: float = 0.0
    otherwise: Mapping[str, Mapping[str, Json]] | None = None
    required: bool = True


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
    write_sealed(own_truths_path(run), asdict(truths))


def read_own_truths(run: Path) -> OwnTruths | None:
    """What the oracles said of a run's samples; None where it has none of the user's own.

    Raises BadInput naming a file that is not complete, Damaged where it is not as it was written.
    """
    path = own_truths_path(run)
    if not path.is_file():
        return None
    raw = read_sealed(path, MEND)
    try:
        truths = build(OwnTruths, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not complete ({error}); {MEND}.") from error
    if truths.schema not in (1, 2, OWN_TRUTHS_SCHEMA):
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
    """Write the token map of a run, sealed."""
    write_sealed(supervision_path(run), asdict(supervision))


def write_generations(generations: Generations, run: Path) -> Path:
    """Write the texts of a run, sealed with the pictures that they name; returns the file."""
    path = generations_path(run)
    pictures = [texts.image for texts in generations.products if texts.image]
    write_sealed(path, asdict(generations), pictures)
    return path


def read_supervision(run: Path) -> Supervision:
    """The token map of a run. Raises BadInput naming a file that is not there or not complete."""
    return _read(Supervision, supervision_path(run), SUPERVISION_SCHEMA)


def read_generations(run: Path) -> Generations:
    """The texts of a run. Raises BadInput naming a file that is not there or not complete."""
    return _read(Generations, generations_path(run), GENERATIONS_SCHEMA)


def read_course(run: Path) -> TrainingCourse:
    """The course of a run's training. Raises BadInput naming a file that is not complete, Damaged
    where it is not what the training's seal says."""
    path = course_path(run)
    raw = read_object(path, MEND)
    check_file(path.parent, path.name, MEND)
    return _built(TrainingCourse, raw, path, Rules(more=True))


def _read(kind: type[T], path: Path, schema: int) -> T:
    raw = read_sealed(path, MEND, UNSEALED)
    if raw.get("schema") not in (*UNSEALED, schema):
        raise BadInput(f"{path} has schema {raw['schema']!r}; {MEND}.")
    return _built(kind, {**raw, "schema": schema}, path, STRICT)


def _built(kind: type[T], raw: Mapping[str, Any], path: Path, rules: Rules) -> T:
    try:
        return build(kind, raw, rules)
    except ValueError as error:
        raise BadInput(f"{path} is not complete ({error}); {MEND}.") from error


def summary_path(run: Path) -> Path:
    """Where a whole run keeps its verdict and what it was asked: its last file."""
    return run / "run.json"


def write_summary(document: Mapping[str, Any], run: Path) -> None:
    """Write a run's summary, sealed with everything of the run that must survive.

    Of a training its own manifest is sealed, and of texts the file that seals their pictures.
    """
    records = [run / f"{rung}{end}" for rung in RUNGS for end in (".json", ".safetensors")]
    beside = [own_truths_path(run), supervision_path(run), generations_path(run)]
    trained = course_path(run).with_name(MANIFEST)
    kept = [path for path in (*records, *beside, trained, context_path(run)) if path.is_file()]
    files = [str(path.relative_to(run)) for path in kept]
    write_sealed(summary_path(run), {"schema": SUMMARY_SCHEMA, **document}, files)


def read_summary(run: Path) -> dict[str, Any]:
    """A run's summary. Raises BadInput where it is none, Damaged naming the file of the run that is
    not as it was written."""
    return read_sealed(summary_path(run), "run `harness run` again", UNSEALED)
