"""Have an environment audit a training, and put together what its process left."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.judging.workers.measure import measure
from harness.judging.workers.resolve import Request, new_context
from harness.records.audit import (
    AUDITED,
    Audit,
    audit_path,
    opened_path,
    read_opened,
    read_rung,
    rung_path,
    write_audit,
)
from harness.records.context import Context, Scale, UserTraining
from harness.records.files import json_digest, text_digest
from harness.records.folders import PACKAGE, PROJECT
from harness.records.machine import commit
from harness.records.record import read_record

CHECKERS = PACKAGE / "measuring" / "audit" / "checks"


@dataclass(frozen=True)
class AuditSpec:
    """What was asked. stack: for people: as asked, or the interpreter's path. limit_s: for opening,
    and for each rung."""

    training: UserTraining
    stack: str
    threads: int
    limit_s: float


def rungs() -> tuple[str, ...]:
    """The rungs that an audit walks: those with a file of checks."""
    return tuple(rung for rung in AUDITED if (CHECKERS / f"{rung}.py").is_file())


def training_named(text: str) -> tuple[Path, str]:
    """FILE[:FUNCTION]: the file by its whole path, the function or ''."""
    name, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        name, function = text, ""
    return Path(os.path.realpath(os.path.expanduser(name))), function


def user_training(
    path: Path, function: str = "", words: Sequence[str] = (), steps: int = 2, loss_on: str = ""
) -> UserTraining:
    """A training by its file, with the digest of what it consists of. Raises BadInput where there
    is no such file, or it is no text."""
    source_of(path)
    beside = sorted(p for p in path.parent.glob("*.py") if p != path and p.is_file())
    digest = json_digest([text_digest(p.read_bytes()) for p in (path, *beside)])
    return UserTraining(str(path), digest, function, tuple(words), steps, loss_on)


def source_of(path: Path) -> str:
    """A training's text. Raises BadInput as user_training."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}; give the script that trains.")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text in UTF-8; give the script that trains.") from error


def ask(spec: AuditSpec, python: Path, out: Path, tick: Callable[[], None]) -> Audit:
    """Audit a training in an environment and keep the result in `out`, which is the caller's alone.

    A rung whose process died is missing, with the reason; a fresh process goes on with the rest.
    Raises BadInput with the user's own error where the training cannot be opened.
    """
    request = Request(spec.stack, "", "", threads=spec.threads, training=spec.training)
    context = new_context(request, out, python, Scale(), lambda line: None)
    measure(context, rungs(), python, limit_s=spec.limit_s, tick=tick, locked=True)
    audit = assembled(context, spec.stack)
    write_audit(audit, audit_path(out))
    return audit


def _why(out: Path, rung: str) -> str:
    """Why a rung has no checks: how its process ended."""
    path = out / f"{rung}.json"
    if not path.is_file():
        return f"The rung {rung} was not measured; audit again into another --out."
    errors = [metric.error for metric in read_record(path).metrics if metric.error]
    return f"The process of the rung {rung} ended: {'; '.join(errors)}."


def assembled(context: Context, stack: str) -> Audit:
    """The audit of what a process left in the context's folder; what has no file of checks is
    missing."""
    user, out = context.training, context.out
    assert user is not None
    done = [read_rung(rung_path(out, r)) for r in rungs() if rung_path(out, r).is_file()]
    names = {rung.rung for rung in done}
    missing = {r: _why(out, r) for r in rungs() if r not in names}
    source = source_of(Path(user.path))
    return Audit(
        training=user.path,
        function=user.function,
        digest=user.digest,
        source=source,
        stack=stack,
        commit=commit(PROJECT),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        steps=user.steps,
        opened=read_opened(opened_path(out)),
        rungs=tuple(done),
        missing=missing,
    )
