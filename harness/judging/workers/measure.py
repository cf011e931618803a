"""Run probes in a stack's environment as a child process; collect records; resume.

The parent never imports what it measures. It hands the child a job file, waits, and reads the
records that the child left. A child that dies takes down only the rung it was in.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.judging.goldens.judgement import FOUND_OUT, OF_ONE_RUN
from harness.judging.workers.process import (
    Outcome,
    child_environment,
    offline,
    outcome_of,
    raise_for,
)
from harness.records.alone import LOCK_S, alone
from harness.records.context import Context
from harness.records.failure import Failure
from harness.records.handover import rung_under_way, under_way_path
from harness.records.jobs import CrossingJob, ProbeJob, write_job
from harness.records.record import PROBE, RUNGS, Metric, Record, Status, read_record, write_record

# A hung rung is worse than a slow one; the slowest rung of the main job takes about a minute.
LIMIT_S = 1800.0
DIED, HANGS = "ChildDied", "ChildHung"
Progress = Callable[[str], None]


def cross(
    context: Context,
    folders: dict[str, Path],
    python: Path,
    tick: Callable[[], None] = lambda: None,
    limit_s: float = LIMIT_S,
) -> Record:
    """Have a stack read the adapters in `folders`; the record lies in context.out."""
    job, log = context.out / "work" / "crossing.job.json", context.out / "logs" / "crossing.log"
    write_job(job, CrossingJob(context, folders, limit_s))
    path = context.out / "trajectory.json"
    if not path.is_file():
        environment = offline(child_environment(context.threads, context.device))
        outcome = outcome_of(context.out, python, job, environment, log, tick, limit_s)
        if outcome.code:
            raise_for(outcome.code, job)
            write_record(_killed(context, "trajectory", outcome, limit_s), context.out)
    return read_record(path)


def _killed(context: Context, rung: str, outcome: Outcome, limit_s: float = LIMIT_S) -> Record:
    """What stands for a rung whose process ended without a record."""
    log = str(outcome.log)
    if outcome.hung:
        message = f"no answer within {limit_s:.0f} s; the log holds where it stood"
        failure = Failure(HANGS, message, log, limit_s=limit_s)
    else:
        signal = -outcome.code if outcome.code < 0 else None
        cause = f"exit code {outcome.code}" if signal is None else f"signal {signal}"
        lines = outcome.log.read_text(encoding="utf-8", errors="replace").splitlines()
        message = f"{cause}; last line: {''.join(lines[-1:])}"[:500]
        failure = Failure(DIED, message, log, signal=signal)
    metric = Metric(rung, PROBE, status=Status.BROKEN, failure=failure)
    return Record(rung, context.provenance(), (metric,))


def measure(
    context: Context,
    rungs: Sequence[str],
    python: Path | None = None,
    progress: Progress = lambda line: None,
    limit_s: float = LIMIT_S,
    tick: Callable[[], None] = lambda: None,
    variables: Mapping[str, str] | None = None,
    lock_s: float = LOCK_S,
    locked: bool = False,
) -> dict[str, Record]:
    """Measure the rungs that have no record in context.out yet; return all, in ladder order.

    variables: set in the child's environment on top of the usual ones. locked: whether the caller
    is `alone` in the folder already, because it writes there too. A child that dies or
    hangs leaves a BROKEN record for the rung it was in; a fresh child goes on with the rest.
    Raises KeyboardInterrupt after the child has saved its state, BadInput where a record that is
    there already is another run's.
    """
    with contextlib.nullcontext() if locked else alone(context.out, lock_s):
        return _measure(
            context, rungs, python or Path(sys.executable), progress, limit_s, tick, variables or {}
        )


def _measure(
    context: Context,
    rungs: Sequence[str],
    python: Path,
    progress: Progress,
    limit_s: float,
    tick: Callable[[], None],
    variables: Mapping[str, str],
) -> dict[str, Record]:
    wanted = [rung for rung in RUNGS if rung in set(rungs)]
    _refuse_others(context, wanted)
    job = context.out / "work" / "probe.job.json"
    log = context.out / "logs" / "probe.log"
    environment = child_environment(context.threads, context.device)
    if context.training is None:  # whose own loading is its own affair
        environment = offline(environment)
    environment |= variables
    while todo := [r for r in wanted if not (context.out / f"{r}.json").is_file()]:
        write_job(job, ProbeJob(context, tuple(todo), limit_s))
        progress(f"measuring {len(todo)} rungs: {', '.join(todo)}")
        started = time.monotonic()
        # What an earlier child was in says nothing about this one.
        under_way_path(context.out).unlink(missing_ok=True)
        outcome = outcome_of(context.out, python, job, environment, log, tick, limit_s)
        if outcome.code == 0:
            break
        raise_for(outcome.code, job)
        current = rung_under_way(context.out)
        rung = current.rung if current else todo[0]
        if (context.out / f"{rung}.json").is_file():
            raise HarnessError(f"The measuring process ended early; the log is {log}.")
        progress(f"{rung} died after {time.monotonic() - started:.0f} s")
        # The next child begins a log of its own; this one is the evidence.
        kept = log.replace(log.with_name(f"{rung}.{log.name}"))
        write_record(_killed(context, rung, replace(outcome, log=kept), limit_s), context.out)
    records = {r: read_record(context.out / f"{r}.json") for r in wanted}
    return _same_provenance(records)


def _refuse_others(context: Context, rungs: Sequence[str]) -> None:
    """Raises BadInput naming the first kept record that another run has left."""
    mine = context.provenance()
    for path in (context.out / f"{rung}.json" for rung in rungs):
        if not path.is_file():
            continue
        theirs = read_record(path).provenance
        for name in (n for n in OF_ONE_RUN if n not in FOUND_OUT):
            kept, wanted = getattr(theirs, name), getattr(mine, name)
            if kept != wanted:
                raise BadInput(
                    f"{path} was measured with {name} {kept!r}, not {wanted!r}; "
                    "give another --out, or remove it."
                )


def refuse_measured(out: Path, rungs: Sequence[str], *, resumes: bool = False) -> None:
    """Raises BadInput where a folder holds one of the rungs' records: nothing would be measured.

    resumes: whether the command has a --resume to go on with.
    """
    kept = [rung for rung in rungs if (out / f"{rung}.json").is_file()]
    if kept or (out / "run.json").is_file():
        raise BadInput(
            f"{out} holds measurements already ({', '.join(kept) or 'run.json'}); give another "
            f"--out, or remove it.{' An interrupted run goes on with --resume.' if resumes else ''}"
        )


def forget_dead_rungs(out: Path) -> None:
    """Drop the records that only say that their process died; a resumed run measures them."""
    for path in (out / f"{rung}.json" for rung in RUNGS):
        if not path.is_file():
            continue
        if died(read_record(path)):
            path.unlink()


def died(record: Record) -> bool:
    """Whether the record only says that its process died or hung."""
    failures = [metric.failure.type for metric in record.metrics if metric.failure]
    return failures in ([DIED], [HANGS])


def _same_provenance(records: dict[str, Record]) -> dict[str, Record]:
    """A record written for a dead child lacks what only a child knows; take it from a live one."""
    alive = next((r.provenance for r in records.values() if r.provenance.device_key), None)
    if alive is None:
        return records
    return {
        rung: record
        if record.provenance.device_key
        else replace(record, provenance=replace(alive, samples=record.provenance.samples))
        for rung, record in records.items()
    }
