"""What every probe is given: which stack, model, data, device, recipe, and where to write."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack, NotRunnable
from harness.recipe.published import REFERENCE, Recipe
from harness.records.files import json_digest
from harness.records.recipes import recipe_digest, recipe_from_json
from harness.records.record import Provenance
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Rules, build

# Of the kept file. History: 1 (2026-11) first format, without a number. 2 (2026-11) sealed.
CONTEXT_SCHEMA = 2
UNSEALED = (None,)
MEND = "start a new run"


@dataclass(frozen=True)
class Scale:
    """What the user asked to change about the training's size; None leaves it to the model.

    max_steps: optimizer steps. heldout: products generated for. max_new_tokens: per text.
    full: the recipe's own three epochs.
    """

    max_steps: int | None = None
    learning_rate: float | None = None
    micro_batch: int | None = None
    accumulation: int | None = None
    heldout: int | None = None
    max_new_tokens: int | None = None
    full: bool = False


# What records of a user's training have for a family: no golden of the recipe's holds for them.
TRAINING_FAMILY = "training"


@dataclass(frozen=True)
class UserTraining:
    """A user's own training, walked through instead of the recipe's.

    path: its file. function: of the file, '' for its own way. words: its own command line. steps:
    optimizer steps at most. loss_on: `all`, `assistant`, `completion`, '' where its settings say
    it. digest: of the file and the modules beside it; data that they read is not covered.
    """

    path: str
    digest: str
    function: str = ""
    words: tuple[str, ...] = ()
    steps: int = 2
    loss_on: str = ""

    @property
    def text(self) -> str:
        """As a command line has it: FILE[:FUNCTION]."""
        return self.path + (f":{self.function}" if self.function else "")

    @property
    def name(self) -> str:
        """What records call it."""
        return f"training:{Path(self.path).name}@{json_digest(asdict(self))[:12]}"


# The recipe's family's; another family's is `stand-in:FAMILY`.
STAND_IN = "stand-in"


def is_stand_in(model: str) -> bool:
    """Whether a model source is one of the embedded models that were trained on the catalogue."""
    return model == STAND_IN or model.startswith(f"{STAND_IN}:")


@dataclass(frozen=True)
class Context:
    """The frozen input of a probe.

    snapshot: resolved local folder of the model. has_weights: whether it holds weights.
    out: the run's folder (records go to `out`, working files to `out/work/<rung>`).
    family: of the model, found from its config's model_type. vocabulary: `real` (the family's
    published one), `stand-in`, or `other`.
    columns: the data's names by the recipe's. splits: what of it is trained on, and what is held
    out; none leaves it to the files' names. data_digest: of all that is read of it, '' for the
    catalogue.
    exchange: `keep` hands the earlier rungs' values over to another stack, `digest` only their
    digests, `` nothing (exchange.py). given: folder of the other stack's values by rung.
    training: a user's own, which then is model, data and recipe in one.
    """

    stack: str
    model: str
    data: str
    snapshot: Path
    has_weights: bool
    out: Path
    device: str = "auto"
    recipe: Recipe = REFERENCE
    scale: Scale = field(default_factory=Scale)
    family: str = ""
    seed: int = 42
    threads: int = 2
    device_key: str = ""
    commit: str = ""
    model_digest: str = ""
    vocabulary: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    platform: str = ""
    created: str = ""
    faults: tuple[str, ...] = ()
    exchange: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    training: UserTraining | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    data_digest: str = ""

    @property
    def is_stand_in(self) -> bool:
        """Whether an embedded stand-in is the model."""
        return is_stand_in(self.model)

    def work(self, rung: str) -> Path:
        """The rung's working folder, created."""
        path = self.out / "work" / rung
        path.mkdir(parents=True, exist_ok=True)
        return path

    def provenance(self, samples: object = "") -> Provenance:
        """The record's provenance. samples: anything JSON that identifies the inputs used; of
        data of the user's own its content counts too."""
        if self.data_digest:
            samples = [samples, self.data_digest]
        return Provenance(
            stack=self.stack,
            model=self.model,
            data=self.data,
            device_key=self.device_key,
            recipe=recipe_digest(self.recipe),
            samples=json_digest(samples),
            versions=dict(self.versions),
            python=self.python,
            platform=self.platform,
            threads=self.threads,
            seed=self.seed,
            commit=self.commit,
            created=self.created,
            model_digest=self.model_digest,
            vocabulary=self.vocabulary,
            faults=self.faults,
            family=self.family,
            data_digest=self.data_digest,
        )


def check_data_and_model(model: str, data: str) -> None:
    """Refuse a pairing that measures nothing: real weights need a real dataset or say so."""
    if data != "catalogue" and is_stand_in(model):
        raise BadInput(
            "A stand-in only knows the catalogue's pictures; give --model as well as --data."
        )


def data_words(columns: Mapping[str, str], splits: tuple[str, ...]) -> list[str]:
    """The options that read a data source so; nothing where it is read as it is."""
    pairs = ",".join(f"{name}={theirs}" for name, theirs in columns.items())
    words = ["--columns", pairs] if columns else []
    return words + (["--split", ",".join(splits)] if splits else [])


def build_context(
    *,
    stack: str,
    model: str,
    data: str,
    out: Path,
    snapshot: Path,
    has_weights: bool,
    model_digest: str,
    vocabulary: str,
    family: str,
    device: str = "auto",
    scale: Scale | None = None,
    recipe: Recipe = REFERENCE,
    threads: int | None = None,
    faults: tuple[str, ...] = (),
    training: UserTraining | None = None,
    columns: Mapping[str, str] | None = None,
    splits: tuple[str, ...] = (),
    data_digest: str = "",
) -> Context:
    """The frozen context of one run."""
    if device.startswith("cuda") and is_stand_in(model) and os.environ.get("HARNESS_LANE") == "gpu":
        raise NotRunnable(
            "The gpu lane never falls back to a stand-in; set HARNESS_MODEL.", Lack.WEIGHTS
        )
    return Context(
        stack=stack,
        model=model,
        data=data,
        snapshot=snapshot,
        has_weights=has_weights,
        out=out,
        device=device,
        scale=scale or Scale(),
        recipe=recipe,
        threads=threads or min(2, os.cpu_count() or 1),
        model_digest=model_digest,
        vocabulary=vocabulary,
        family=family,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        faults=faults,
        training=training,
        columns=dict(columns or {}),
        splits=splits,
        data_digest=data_digest,
    )


def context_to_json(context: Context) -> dict[str, Any]:
    """JSON form, to hand a context to a child process."""
    raw = asdict(context)
    raw["snapshot"], raw["out"] = str(context.snapshot), str(context.out)
    return raw


def context_from_json(raw: Mapping[str, Any]) -> Context:
    """Inverse of context_to_json: the recipe is the one that travelled, field by field, whatever
    this harness has under its name. Raises ValueError for a field that is missing or of another
    type."""
    if "recipe" not in raw:
        raise ValueError("recipe is missing")
    return build(Context, {**raw, "recipe": recipe_from_json(raw["recipe"])})


def kept_json(context: Context) -> dict[str, Any]:
    """What a folder keeps of the context that its records are measured with."""
    return {"schema": CONTEXT_SCHEMA, **context_to_json(context)}


def write_context(context: Context) -> None:
    """Keep a run's context in its folder, sealed."""
    write_sealed(context_path(context.out), kept_json(context))


def read_context(path: Path) -> Context:
    """The context that an interrupted run began with. Raises BadInput naming the file, Damaged
    where it is not as it was written."""
    raw = _kept(path)
    try:
        return context_from_json({k: v for k, v in raw.items() if k != "schema"})
    except ValueError as error:
        raise BadInput(f"{path} is not a complete context ({error}); {MEND}.") from error


def _kept(path: Path) -> dict[str, Any]:
    return read_sealed(path, MEND, unsealed_schemas=UNSEALED)


@dataclass(frozen=True)
class Kept:
    """What other commands ask of the context that a folder's records were measured with.

    exchange: as in Context; a comparison's sides share their dropout masks, a plain run draws its
    own. threads: None where it does not say.
    """

    exchange: str = ""
    threads: int | None = None


def context_path(out: Path) -> Path:
    """Where a folder keeps the context that its records are measured with."""
    return out / "work" / "context.json"


def kept_context(out: Path) -> Kept | None:
    """That context, of any version of the harness; None where the folder keeps none.

    Raises BadInput naming a file that is damaged.
    """
    path = context_path(out)
    if not path.is_file():
        return None
    try:
        return build(Kept, _kept(path), Rules(more=True))
    except ValueError as error:
        raise BadInput(f"{path} is not a complete context ({error}); {MEND}.") from error
