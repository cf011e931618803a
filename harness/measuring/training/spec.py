"""What one training is: every setting that determines its numbers, frozen and digested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from harness.errors import BadInput
from harness.measuring.models import family, of_snapshot
from harness.measuring.snapshots.loading import QuantisationMode, quantisation_mode
from harness.recipe.published import Recipe, variant
from harness.recipe.ways import variant as way_of
from harness.records.context import Context
from harness.records.files import json_digest, read_json, read_object
from harness.records.recipes import recipe_from_json
from harness.records.typed import build

DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")
DTYPES = ("float32", "bfloat16", "float16")
PADDING_SIDES = ("left", "right")
MEND = "start a new run, in another folder"


@dataclass(frozen=True)
class TrainSpec:
    """Everything that determines a run's numbers on one device.

    recipe: the whole of it, resolved. max_steps: -1 trains the recipe's epochs. accumulation:
    micro-batches per optimizer step, of all processes together. save_every: steps between states.
    dropout: False for proofs of equal arithmetic, where two ways of execution would draw other
    masks. way: a name of harness/recipe/ways.py, how the steps are executed; "" is the library's
    own. columns, splits: as in Context. padding: another side than the processor's own, "" is that.
    """

    snapshot: str
    model: str
    data: str
    recipe: Recipe
    device: str
    quantisation: str
    dtype: str
    max_steps: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    family: str
    seed: int = 42
    threads: int = 2
    save_every: int = 5
    rows: int | None = None
    dropout: bool = True
    way: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    padding: str = ""

    @property
    def digest(self) -> str:
        """Digest over every field, the recipe's too; `dropout` counts only where it is off, `way`,
        `columns`, `splits` and `padding` where there are any."""
        facts = asdict(self)
        if self.dropout:
            del facts["dropout"]
        for name in ("way", "columns", "splits", "padding"):
            if not facts[name]:
                del facts[name]
        return json_digest(facts)


def spec_to_json(spec: TrainSpec) -> dict[str, Any]:
    """What `spec.json` holds: the spec and, for whoever looks for a run, its digest."""
    return {"digest": spec.digest, "spec": asdict(spec)}


def spec_from_json(raw: object) -> TrainSpec:
    """Inverse of spec_to_json, or a spec alone. Raises ValueError naming what is wrong with it.

    A spec that names its recipe, as those written by hand and by earlier releases do, means the
    variant of that name, BadInput where there is none. One that names no family is of its
    snapshot's.
    """
    if isinstance(raw, Mapping) and "spec" in raw:
        raw = raw["spec"]
    if not isinstance(raw, Mapping):
        raise ValueError("it holds no object")
    if "recipe" not in raw:
        raise ValueError("recipe is missing")
    if "family" not in raw and "snapshot" in raw:
        raw = {**raw, "family": of_snapshot(Path(str(raw["snapshot"])))}
    named = raw["recipe"]
    recipe = variant(named) if isinstance(named, str) else recipe_from_json(named)
    spec: TrainSpec = build(TrainSpec, {**raw, "recipe": recipe})
    refuse_numbers(spec)
    refuse_names(spec)
    return spec


# What the libraries keep in a C int.
_MOST = 2**31 - 1
_LEAST = {"threads": 1, "micro_batch": 1, "accumulation": 1, "save_every": 1, "seed": 0}
_MOST_THREADS = 4096


def refuse_numbers(spec: TrainSpec) -> None:
    """Raises ValueError naming the first number that no training can have."""
    for name, least in _LEAST.items():
        most = _MOST_THREADS if name == "threads" else _MOST
        if not least <= getattr(spec, name) <= most:
            raise ValueError(f"{name} is {getattr(spec, name)}, not from {least} to {most}")
    if spec.max_steps != -1 and not 1 <= spec.max_steps <= _MOST:
        raise ValueError(f"max_steps is {spec.max_steps}, neither -1 nor from 1 to {_MOST}")
    if spec.rows is not None and not 2 <= spec.rows <= _MOST:
        raise ValueError(f"rows is {spec.rows}, not from 2 to {_MOST}")
    if spec.learning_rate < 0:
        raise ValueError(f"learning_rate is {spec.learning_rate}, below 0")


def refuse_names(spec: TrainSpec) -> None:
    """Raises ValueError naming the first word that means nothing, BadInput for a family or a way
    that there is none of."""
    if not DEVICE.fullmatch(spec.device):
        raise ValueError(f"device is {spec.device!r}, neither cpu nor cuda[:number]")
    kinds = {
        "dtype": DTYPES,
        "quantisation": get_args(QuantisationMode),
        "padding": ("", *PADDING_SIDES),
    }
    for name, known in kinds.items():
        if getattr(spec, name) not in known:
            raise ValueError(f"{name} is {getattr(spec, name)!r}, none of {', '.join(known)}")
    family(spec.family)
    if spec.way:
        way_of(spec.way)


def read_spec(path: Path) -> TrainSpec:
    """The spec of a file, a run's own `spec.json` or `run.json` too. Raises BadInput naming it."""
    raw = read_object(path, MEND)
    try:
        return spec_from_json(raw)
    except (ValueError, BadInput) as error:
        raise BadInput(f"{path} holds no complete training spec ({error}); {MEND}.") from error


@dataclass(frozen=True)
class RunScale:
    """A training's size where its user says nothing, and why it is not the recipe's ('' where it
    is)."""

    max_steps: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    reason: str = ""


# For a model of two million parameters.
STAND_IN_SCALE = RunScale(
    max_steps=35,
    micro_batch=4,
    accumulation=4,
    learning_rate=2e-3,
    reason=(
        "35 steps of 4×4 are one epoch of the 560 products, under a minute on 2 cores, and divide "
        "it evenly. The learning rate is ten times the recipe's: a LoRA update of rank 8 has to "
        "switch the style of matrices of width 128 in a tenth of the recipe's steps."
    ),
)


def default_scale(context: Context) -> RunScale:
    """The stand-in's size, or the recipe's own with 100 steps; on a CPU a model of one's own trains
    as many rows as the stand-in, at the recipe's rate."""
    recipe = context.recipe.training
    if context.is_stand_in:
        return STAND_IN_SCALE
    if not context.device.startswith("cuda"):
        return replace(STAND_IN_SCALE, learning_rate=recipe.learning_rate)
    return RunScale(
        100,
        recipe.per_device_train_batch_size,
        recipe.gradient_accumulation_steps,
        recipe.learning_rate,
    )


def spec_for(context: Context) -> TrainSpec:
    """The run of a context: what its user says of its size, else its default."""
    asked, default = context.scale, default_scale(context)
    device = "cuda" if context.device.startswith("cuda") else "cpu"
    return TrainSpec(
        snapshot=str(context.snapshot),
        model=context.model,
        data=context.data,
        recipe=context.recipe,
        device=device,
        quantisation=quantisation_mode(device),
        dtype="bfloat16" if device == "cuda" else "float32",
        max_steps=asked.max_steps or (-1 if asked.full else default.max_steps),
        micro_batch=asked.micro_batch or default.micro_batch,
        accumulation=asked.accumulation or default.accumulation,
        learning_rate=asked.learning_rate or default.learning_rate,
        seed=context.seed,
        threads=context.threads,
        family=context.family,
        columns=context.columns,
        splits=context.splits,
    )


def total_steps(spec: TrainSpec, rows: int, epochs: int) -> int:
    """Optimizer steps of a run over `rows` samples."""
    if spec.max_steps > 0:
        return spec.max_steps
    batches = -(-rows // spec.micro_batch)
    per_epoch = max(1, batches // spec.accumulation)
    return per_epoch * epochs


def check_position(state: Path, spec: TrainSpec, rows: int) -> None:
    """Refuse to resume where the library would go on from another sample than it stopped at.

    transformers 4.45 carries a partial accumulation over the end of an epoch, but on resuming
    computes the position as if every epoch held whole steps. Within the first epoch, and where
    the accumulation divides the epoch, both agree.
    """
    step = int(read_json(state / "state.json")["step"])
    batches = -(-rows // spec.micro_batch)
    per_epoch = max(1, batches // spec.accumulation)
    if batches % spec.accumulation and step >= per_epoch:
        raise BadInput(
            f"{state.parent.parent} stopped after its first epoch of {batches} batches, which "
            f"{spec.accumulation} does not divide, and cannot go on at the exact sample; "
            "start a new run."
        )
