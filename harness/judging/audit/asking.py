"""Have an environment audit a training: one process, watched, whose rungs are kept as they come."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.judging.workers.process import child_environment, outcome_of, raise_for
from harness.records.audit import (
    AUDITED,
    Audit,
    audit_path,
    opened_path,
    read_opened,
    read_rung,
    rung_path,
    write_sealed,
)
from harness.records.files import text_digest
from harness.records.folders import PACKAGE, PROJECT
from harness.records.handover import forget_handover, rung_under_way, under_way_path
from harness.records.jobs import AuditJob, write_job
from harness.records.machine import commit

CHECKERS = PACKAGE / "measuring" / "audit" / "checks"


@dataclass(frozen=True)
class AuditSpec:
    """What was asked. training: the user's file. function: of it, '' for its own way. loss_on: as
    in AuditJob. stack: as asked, for people. limit_s: for opening, and for each rung. words: the
    script's own command line."""

    training: Path
    function: str
    stack: str
    steps: int
    loss_on: str
    threads: int
    limit_s: float
    words: tuple[str, ...] = ()


def rungs() -> tuple[str, ...]:
    """The rungs that an audit walks: those with a file of checks."""
    return tuple(rung for rung in AUDITED if (CHECKERS / f"{rung}.py").is_file())


def ask(spec: AuditSpec, python: Path, out: Path, tick: Callable[[], None]) -> Audit:
    """Audit a training in an environment and keep the result in `out`.

    A rung whose process died is missing with the reason; a fresh process goes on with the rest.
    Raises BadInput with the user's own error where the training cannot be opened.
    """
    source = _source(spec.training)
    job, log = out / "work" / "audit.job.json", out / "logs" / "audit.log"
    missing: dict[str, str] = {}
    while todo := [r for r in rungs() if r not in missing and not rung_path(out, r).is_file()]:
        write_job(
            job,
            AuditJob(
                spec.training,
                spec.function,
                out,
                tuple(todo),
                spec.steps,
                spec.loss_on,
                spec.threads,
                spec.limit_s,
                spec.words,
            ),
        )
        under_way_path(out).unlink(missing_ok=True)
        started = time.monotonic()
        environment = child_environment(spec.threads)
        outcome = outcome_of(out, python, job, environment, log, tick, spec.limit_s)
        if outcome.code == 0:
            break
        try:
            raise_for(outcome.code, job)
        except HarnessError:
            forget_handover(job)
            raise
        current = rung_under_way(out)
        if current is None or current.rung not in todo:
            raise HarnessError(
                f"The audit's process ended with {outcome.code} before it could open "
                f"{spec.training}; the log is {log}."
            )
        ended = f"after {time.monotonic() - started:.0f} s"
        how = "did not answer and was ended" if outcome.hung else f"ended with {outcome.code}"
        missing[current.rung] = f"Its process {how} {ended}; the log is {log}."
    audit = assembled(spec, source, out, missing)
    write_sealed(audit, audit_path(out))
    return audit


def _source(training: Path) -> str:
    if not training.is_file():
        raise BadInput(f"There is no file {training}; give the script that trains.")
    try:
        return training.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{training} is no text in UTF-8; give the script that trains.") from error


def assembled(spec: AuditSpec, source: str, out: Path, missing: dict[str, str]) -> Audit:
    """The audit of what its process left in `out`."""
    done = [read_rung(rung_path(out, r)) for r in rungs() if rung_path(out, r).is_file()]
    return Audit(
        training=str(spec.training),
        function=spec.function,
        digest=text_digest(source),
        source=source,
        stack=spec.stack,
        commit=commit(PROJECT),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        steps=spec.steps,
        opened=read_opened(opened_path(out)),
        rungs=tuple(done),
        missing=missing,
    )
