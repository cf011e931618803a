"""What a comparison was asked: refused early, kept for a resume, taken back where it is refused."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.judging.compare.comparison import is_directory
from harness.judging.compare.sides import Side
from harness.judging.environments.stack import parse
from harness.judging.workers.measure import forget_dead_rungs
from harness.judging.workers.resolve import forget
from harness.records.context import context_to_json
from harness.records.files import read_object, write_json
from harness.records.folders import existing_run, output_folder, path_of
from harness.records.record import RUNGS, read_records

PLAN_SCHEMA = 1
PLAN = "plan.json"
NAMES = ("old", "new")


def refuse_early(
    texts: tuple[str, str], rungs: tuple[str, ...], options: Sequence[str] = ()
) -> None:
    """Raises BadInput for a side that cannot be, before anything is written, built or measured,
    and for given options of a measurement where there is none."""
    if options and all(map(is_directory, texts)):
        raise BadInput(
            f"{options[0]} does nothing between two folders of records, where nothing is "
            "measured; leave it out."
        )
    for text in texts:
        if is_directory(text):
            found = read_records(path_of(text))
            if not set(rungs) & set(found):
                raise BadInput(
                    f"{text} holds no record of {', '.join(rungs)}; it has {', '.join(found)}."
                )
        else:
            parse(text)


def asked_of(arguments: argparse.Namespace, rungs: tuple[str, ...]) -> dict[str, object]:
    """What decides a comparison's records; a resume must be asked the same."""
    names = ("old", "new", "model", "data", "device")
    return {
        "schema": PLAN_SCHEMA,
        **{name: getattr(arguments, name) for name in names},
        "rungs": list(rungs),
    }


def resume_command(arguments: argparse.Namespace, out: Path) -> str:
    """The command that goes on with an interrupted comparison: the same question."""
    words = ["harness", "compare", arguments.old, arguments.new, "--resume", str(out)]
    for name in ("model", "data", "device"):
        if f"--{name}" in arguments.given:
            words += [f"--{name}", getattr(arguments, name)]
    if arguments.rungs:
        words += ["--rungs", ",".join(arguments.rungs)]
    return shlex.join(words)


def folder_of(arguments: argparse.Namespace, asked: Mapping[str, object]) -> Path:
    """The comparison's folder: new, or an earlier one of the same question. Nothing is written.

    Raises BadInput where it holds another comparison, or none to go on with.
    """
    if not arguments.resume:
        out = output_folder(arguments.out)
        if (out / PLAN).is_file():
            raise BadInput(f"{out} holds a comparison already; give --resume {out} to go on.")
        return out
    out = existing_run(arguments.resume).resolve()
    try:
        before = read_object(out / PLAN, "start a new comparison")
    except BadInput as error:
        raise BadInput(f"{out} holds no comparison to go on with: {error}") from error
    for name, value in asked.items():
        if before.get(name) != value:
            raise BadInput(
                f"{out} was started with {name} {before.get(name)!r}, not {value!r}; "
                "resume it as it was, or start anew."
            )
    for name in NAMES:
        forget_dead_rungs(out / name)
    return out


def context_path(side: Side) -> Path:
    """Where a side's context is kept for a resume."""
    return side.out / "work" / "context.json"


@contextlib.contextmanager
def begun(out: Path, asked: Mapping[str, object], sides: Sequence[Side]) -> Iterator[None]:
    """Write what a resume needs, once both sides are ready.

    It is taken back where a refusal leaves no record to go on with: the same command can then be
    given again.
    """
    kept: dict[Path, object] = {out / PLAN: asked}
    for side in sides:
        if side.context is not None:
            kept[context_path(side)] = context_to_json(side.context)
    fresh = {path: value for path, value in kept.items() if not path.is_file()}
    try:
        for path, value in fresh.items():
            write_json(path, value)
        yield
    except HarnessError:
        measured = (out / name / f"{rung}.json" for name in NAMES for rung in RUNGS)
        if not any(path.is_file() for path in measured):
            forget(*fresh)
        raise
