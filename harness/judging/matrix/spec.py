"""What a matrix is asked, frozen: from a TOML file, from options, or from both."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness.errors import BadInput
from harness.judging.audit.asking import rungs as audited
from harness.judging.audit.asking import training_named, user_training
from harness.judging.compare.sides import parse_rungs
from harness.judging.environments.stack import parse
from harness.recipe.published import REFERENCE, VARIANTS
from harness.records.context import UserTraining
from harness.records.files import read_toml
from harness.records.folders import FAMILIES
from harness.records.typed import build

SCHEMA = 1
DEVICES = ("cpu", "cuda")
# From text to weights after one update; training and what it costs take most of the time.
USUAL = "2-10"


@dataclass(frozen=True)
class Asked:
    """A matrix as its file or the options say it; what is empty is not said. families: names, each
    its `tiny:FAMILY`. models: other sources. trainings: users' own, `FILE[:FUNCTION]`. rungs: as
    `2-10` or `text,ids`. limit: seconds for one cell. metrics: `RUNG.METRIC[.CASE]`, shown over the
    stacks."""

    stacks: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    trainings: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    rungs: str = ""
    metrics: tuple[str, ...] = ()
    threads: int = 0
    limit: float = 0.0

    def over(self, other: Asked) -> Asked:
        """This, and what it does not say as another one has it."""
        mine = {f.name: value for f in fields(self) if (value := getattr(self, f.name))}
        return replace(other, **mine)


@dataclass(frozen=True)
class MatrixSpec:
    """A matrix, whole. stacks: in the order in which each is compared with the one before. models:
    sources as `--model` takes them. trainings: users' own, each a row without a recipe. threads: of
    one cell. limit_s: for one cell."""

    stacks: tuple[str, ...]
    models: tuple[str, ...] = ()
    trainings: tuple[UserTraining, ...] = ()
    recipes: tuple[str, ...] = (REFERENCE.name,)
    devices: tuple[str, ...] = ("cpu",)
    rungs: tuple[str, ...] = parse_rungs(USUAL)
    metrics: tuple[str, ...] = ()
    threads: int = 1
    limit_s: float = 1800.0


def read_asked(path: Path) -> Asked:
    """A matrix's file. Raises BadInput naming it and what is wrong in it."""
    raw = read_toml(path, "mend it")
    schema = raw.pop("schema", None)
    if schema != SCHEMA:
        raise BadInput(f"{path} has schema {schema!r}; its first line must be schema = {SCHEMA}.")
    try:
        return build(Asked, raw)
    except ValueError as error:
        raise BadInput(f"{path} is no matrix ({error}); mend it.") from error


def family_names() -> tuple[str, ...]:
    """The families that the harness has a file of."""
    return tuple(sorted(path.stem for path in FAMILIES.glob("*.py") if path.stem[0] != "_"))


def spec_of(asked: Asked) -> MatrixSpec:
    """The whole matrix. Raises BadInput for what is missing, unknown, or named twice."""
    usual = MatrixSpec((), ())
    spec = MatrixSpec(
        stacks=asked.stacks,
        models=(*map(_tiny, asked.families), *map(_whole, asked.models)),
        trainings=tuple(user_training(*training_named(text)) for text in asked.trainings),
        recipes=asked.recipes or usual.recipes,
        devices=asked.devices or usual.devices,
        rungs=parse_rungs(asked.rungs or USUAL),
        metrics=asked.metrics,
        threads=asked.threads or usual.threads,
        limit_s=asked.limit or usual.limit_s,
    )
    if not spec.stacks:
        raise BadInput("A matrix needs stacks; give --stack, or stacks = […] in its file.")
    if not (spec.models or spec.trainings):
        raise BadInput(
            "A matrix needs models; give --family, --model or --training, or name them in its file."
        )
    for name in ("stacks", "models", "recipes", "devices", "metrics"):
        _once(name, getattr(spec, name))
    _told_apart(spec.trainings)
    if spec.trainings and not set(spec.rungs) & set(audited()):
        raise BadInput(f"A training has none of these rungs; choose from {', '.join(audited())}.")
    for text in spec.stacks:
        if parse(text).name == "newest":
            raise BadInput("`newest` is another stack tomorrow; name what it resolves to instead.")
    _known("recipe", spec.recipes, tuple(VARIANTS))
    _known("device", spec.devices, DEVICES)
    return spec


def _told_apart(trainings: tuple[UserTraining, ...]) -> None:
    """A row is called as its file is."""
    names = [(Path(each.path).name, each.function) for each in trainings]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"Two trainings are called {':'.join(filter(None, name))}; rename one.")


def _tiny(family: str) -> str:
    _known("family", (family,), family_names())
    return f"tiny:{family}"


def _whole(model: str) -> str:
    """A source; a folder by its whole path, which holds from every node's working folder."""
    path = os.path.expanduser(model)
    return os.path.realpath(path) if os.path.isdir(path) else model


def _known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise BadInput(f"There is no {what} {name!r}; choose from {', '.join(known)}.")


def _once(what: str, names: tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{name} is twice in {what}; name it once.")


def usual_workers(threads: int, memory: int, memory_of_one: int) -> int:
    """How many cells run at once on this machine by its cores and its free memory in bytes."""
    cores = max((os.cpu_count() or 1) // threads, 1)
    return max(min(cores, memory // memory_of_one if memory else 1), 1)
