"""The cells of a matrix, each known by everything that decides what is measured in it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.judging.audit.asking import rungs as audited
from harness.judging.environments.build import environment_place
from harness.judging.environments.given import digest_of
from harness.judging.environments.identity import identified, stack_label
from harness.judging.environments.stack import parse
from harness.judging.matrix.spec import MatrixSpec
from harness.recipe.published import variant
from harness.records.context import UserTraining
from harness.records.files import json_digest, text_digest
from harness.records.folders import ORACLES, PACKAGE
from harness.records.machine import cpu_key, graphics
from harness.records.recipes import recipe_digest

# Of how a cell is known. 1 (2026-11) first.
KEY_SCHEMA = 1
# What decides a record; judging is done anew each time.
MEASURING = ("measuring", "records", "recipe", "data")


@dataclass(frozen=True)
class StackHere:
    """A stack of a matrix. text: that means the same on every node, a checkout or a file by its
    whole path and content. label: as records call it. identity: of its content. marker: the file
    that is there where its environment is built, '' for an interpreter that is used as it is."""

    text: str
    label: str
    identity: str
    marker: str = ""


@dataclass(frozen=True)
class Cell:
    """What one command measures. key: of all that decides its records. training: a user's own, with
    `training:FILE[:FUNCTION]` for a model and no recipe."""

    stack: StackHere
    model: str
    recipe: str
    device: str
    rungs: tuple[str, ...]
    threads: int
    key: str
    training: UserTraining | None = None

    @property
    def title(self) -> str:
        """For people: what stands in its place of the matrix."""
        model = Path(self.training.text).name if self.training else self.model
        words = [model.removeprefix("tiny:"), "on", self.stack.label]
        if self.recipe not in {"", "reference"}:
            words += ["with", self.recipe]
        return " ".join(words + (["on cuda"] if self.device == "cuda" else []))


def stack_here(text: str) -> StackHere:
    """A stack as it is now. Raises BadInput as identified does."""
    name = parse(text).name
    if name in {"current", "python"}:
        python = sys.executable if name == "current" else identified(text).stack.source
        label = stack_label(text)
        return StackHere(text if name == "current" else label, label, digest_of("python", python))
    folder, label = environment_place(text), stack_label(text)
    return StackHere(label, label, folder.name, str(folder / "harness.json"))


@cache
def harness_digest() -> str:
    """16 hex digits over all code of the harness that takes part in a measurement."""
    files = [PACKAGE / "errors.py", *ORACLES.glob("*.py")]
    for name in MEASURING:
        files += [p for p in (PACKAGE / name).rglob("*") if p.is_file()]
    wanted = sorted(p for p in files if p.suffix not in {".pyc", ".pyo"})
    return json_digest([[_place(path), text_digest(path.read_bytes())] for path in wanted])


def _place(path: Path) -> str:
    """A file's name that does not depend on where the harness is installed."""
    return f"oracles/{path.name}" if ORACLES in path.parents else str(path.relative_to(PACKAGE))


@cache
def model_identity(model: str) -> str:
    """A model source by its content: a folder by its files' names, sizes and times."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    stats = [(p, p.stat()) for p in sorted(folder.rglob("*")) if p.is_file()]
    listed = [[str(p.relative_to(folder)), s.st_size, s.st_mtime_ns] for p, s in stats]
    return f"{os.path.realpath(folder)}#{json_digest(listed)}"


def device_identity(device: str) -> str:
    """What decides a device's numbers: the processor's vector extensions, or the cards' names."""
    return cpu_key() if device == "cpu" else json_digest(list(graphics()[1:]))


def cells_of(spec: MatrixSpec) -> tuple[Cell, ...]:
    """Every cell, stack by stack, so that an environment is used up before the next is."""
    stacks = [stack_here(text) for text in spec.stacks]
    return tuple(_cells(spec, stacks))


def _cells(spec: MatrixSpec, stacks: list[StackHere]) -> Iterator[Cell]:
    audited_here = tuple(rung for rung in spec.rungs if rung in audited())
    for stack, device in itertools.product(stacks, spec.devices):
        for model, recipe in itertools.product(spec.models, spec.recipes):
            subject = (model_identity(model), recipe_digest(variant(recipe)))
            key = _key(stack, subject, spec.rungs, device, spec.threads)
            yield Cell(stack, model, recipe, device, spec.rungs, spec.threads, key)
        for training in spec.trainings:
            key = _key(stack, (training.name,), audited_here, device, spec.threads)
            model = f"training:{training.text}"
            yield Cell(stack, model, "", device, audited_here, spec.threads, key, training)


def _key(
    stack: StackHere, subject: tuple[str, ...], rungs: tuple[str, ...], device: str, threads: int
) -> str:
    """subject: what is measured, by its content."""
    measured = [stack.identity, harness_digest(), *subject, list(rungs)]
    return json_digest([KEY_SCHEMA, *measured, device_identity(device), threads])
