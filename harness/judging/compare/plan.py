"""What a comparison was asked: refused early, kept for a resume, taken back where it is refused."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError
from harness.judging.compare.comparison import is_directory
from harness.judging.compare.sides import Side
from harness.judging.compare.spec import CompareSpec
from harness.judging.environments.stack import parse
from harness.judging.workers.measure import forget_dead_rungs
from harness.recipe.published import REFERENCE
from harness.records.context import context_path, data_words, kept_json
from harness.records.files import forget
from harness.records.folders import existing_run, output_folder, path_of
from harness.records.record import RUNGS, read_records
from harness.records.seals import read_sealed, write_sealed

# 2: with the recipe; a plan of schema 1 was asked with the published one. 3: sealed.
PLAN_SCHEMA = 3
READ = (1, 2)
PLAN = "plan.json"
NAMES = ("old", "new")


@dataclass(frozen=True)
class Asked:
    """What decides a comparison's records; a resume must be asked the same. recipe: its name, the
    contexts beside the plan have its values. training: a user's own, by name and digest."""

    old: str
    new: str
    model: str
    data: str
    device: str
    rungs: tuple[str, ...]
    recipe: str = REFERENCE.name
    training: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    schema: int = PLAN_SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The document of plan.json."""
        raw = asdict(self)
        # A plan that was written before there were such options has none.
        for name in ("columns", "splits"):
            if not raw[name]:
                del raw[name]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in raw.items()}


def refuse_early(spec: CompareSpec) -> None:
    """Raises BadInput for a side that cannot be, before anything is written, built or measured,
    and for options of a measurement where there is none."""
    if spec.options and all(map(is_directory, spec.texts)):
        raise BadInput(
            f"{spec.options[0]} does nothing between two folders of records, where nothing is "
            "measured; leave it out."
        )
    for text in spec.texts:
        if is_directory(text):
            records = read_records(path_of(text))
            if not set(spec.rungs) & set(records):
                raise BadInput(
                    f"{text} holds no record of {', '.join(spec.rungs)}; "
                    f"it has {', '.join(records)}."
                )
        else:
            parse(text)


def asked_of(spec: CompareSpec) -> Asked:
    """What of a spec decides its records."""
    request = spec.request
    where = (request.model, request.data, request.device)
    return Asked(
        spec.old,
        spec.new,
        *where,
        spec.rungs,
        request.recipe.name,
        training=request.training.name if request.training else "",
        columns=request.columns,
        splits=request.splits,
    )


def resume_command(spec: CompareSpec, out: Path) -> str:
    """The command that goes on with an interrupted comparison: the same question."""
    words = ["harness", "compare", spec.old, spec.new, "--resume", str(out)]
    for name in ("model", "data", "device"):
        if f"--{name}" in spec.options:
            words += [f"--{name}", getattr(spec.request, name)]
    if request_training := spec.request.training:
        words += ["--training", request_training.text]
    words += data_words(spec.request.columns, spec.request.splits)
    if "--recipe" in spec.options:
        words += ["--recipe", spec.request.recipe.name]
    if spec.rungs_named:
        words += ["--rungs", ",".join(spec.rungs)]
    return shlex.join(words)


def folder_of(spec: CompareSpec) -> Path:
    """The comparison's folder: new, or an earlier one of the same question. Nothing is written.

    Raises BadInput where it holds another comparison, or none to go on with.
    """
    if not spec.resume:
        out = output_folder(spec.out)
        if (out / PLAN).is_file():
            raise BadInput(f"{out} holds a comparison already; give --resume {out} to go on.")
        return out
    out = existing_run(spec.resume).resolve()
    try:
        before = read_sealed(out / PLAN, "start a new comparison", READ)
    except BadInput as error:
        raise BadInput(f"{out} holds no comparison to go on with: {error}") from error
    if before.get("schema") in READ:
        before = {"recipe": REFERENCE.name, **before, "schema": PLAN_SCHEMA}
    asked = asked_of(spec).to_json()
    for name in dict.fromkeys((*asked, *before)):
        # A plan from before there were users' trainings has none.
        started_with = before.get(name, "" if name == "training" else None)
        if started_with != asked.get(name):
            raise BadInput(
                f"{out} was started with {name} {started_with!r}, not {asked.get(name)!r}; "
                "resume it as it was, or start anew."
            )
    return out


def forget_dead(out: Path) -> None:
    """Have a resumed comparison measure again the rungs whose process died, on both sides."""
    for name in NAMES:
        forget_dead_rungs(out / name)


@contextlib.contextmanager
def begun(out: Path, asked: Asked, sides: Sequence[Side]) -> Iterator[None]:
    """Write what a resume needs, once both sides are ready.

    It is taken back where a refusal leaves no record to go on with: the same command can then be
    given again.
    """
    kept = {out / PLAN: asked.to_json()}
    for side in sides:
        if side.context is not None:
            kept[context_path(side.out)] = kept_json(side.context)
    fresh = {path: value for path, value in kept.items() if not path.is_file()}
    try:
        for path, value in fresh.items():
            write_sealed(path, value)
        yield
    except HarnessError:
        measured = (out / name / f"{rung}.json" for name in NAMES for rung in RUNGS)
        if not any(path.is_file() for path in measured):
            forget(*fresh)
        raise
