"""Faults planted into this process: the ladder without one and with each, judged and compared."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.compare.document import Document, document_of
from harness.judging.compare.question import Question
from harness.judging.compare.sides import Side
from harness.judging.environments.installed import installed_stack
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.verdicts import judge
from harness.judging.workers.resolve import Request, new_context
from harness.measuring.child.job import describe, measure, prepare
from harness.measuring.models import family
from harness.records.context import STAND_IN, Context, Scale
from harness.records.record import RUNGS, Record, read_records, write_record
from harness.records.trial import AFTER
from suites.faults import (
    Fault,
    again,
    blind,
    blind_fourth,
    blind_second,
    blind_third,
    data,
    drawn,
    frozen,
    held,
    kept,
    late,
    model,
    nearer,
    resumed,
    schedules,
    trainer,
    unseen,
    values,
    widened,
)
from suites.faults.late import short_run
from suites.pictures import leave_out_large
from suites.trial.headings import headings
from suites.trial.record import BEFORE, PLANTED, ROUND, Tried

# Rungs 2 to 10, and of the later ones the fault's own and those that come before it.
ALWAYS = RUNGS[2:11]
LATER = RUNGS[11:]
KNOWN = (
    ("data", data),
    ("model", model),
    ("again", again),
    ("late", late),
    ("widened", widened),
    ("trainer", trainer),
    ("drawn", drawn),
    ("values", values),
    ("kept", kept),
    ("resumed", resumed),
    ("schedules", schedules),
    ("held", held),
    ("nearer", nearer),
)
# By the commit whose harness/ they were chosen for; no earlier code has been tried with them.
CHOSEN_FOR = {
    "1a775a4": (("frozen", frozen), ("unseen", unseen)),
    "eedd55d": (("blind", blind),),
    "df7f64c": (("blind_second", blind_second),),
    "45935d8": (("blind_third", blind_third),),
    "0dfde40": (("blind_fourth", blind_fourth),),
    "feb68d7": (),  # changes of the libraries alone
}


def faults() -> Iterator[tuple[str, str, Fault]]:
    """(the commit it was chosen for, '' of one that is known; file; fault) of every one."""
    earlier = [m for commit, modules in CHOSEN_FOR.items() if commit != ROUND for m in modules]
    for commit, modules in (("", (*KNOWN, *earlier)), (ROUND, CHOSEN_FOR[ROUND])):
        for file, module in modules:
            chosen: Sequence[Fault] = getattr(module, "CHOSEN", None) or module.FAULTS
            yield from ((commit, f"suites/faults/{file}.py", fault) for fault in chosen)


def rungs_for(fault: Fault) -> tuple[str, ...]:
    """What to measure with it: cost trains nothing and stands for itself."""
    if fault.rung not in LATER:
        return ALWAYS
    own = (fault.rung,) if fault.rung == "cost" else LATER[: LATER.index(fault.rung) + 1]
    return (*ALWAYS, *own)


def try_all(root: Path, names: Sequence[str]) -> Iterator[Tried]:
    """Each in a process forked from this one, which has measured the ladder without any."""
    context = described(root)
    with short_run(), pytest.MonkeyPatch().context() as patch:
        leave_out_large(patch, family(context.family))
        plain = root / "plain"
        _measured(context, plain, (*ALWAYS, *LATER))
        for commit, file, fault in faults():
            if names and not any(name in f"{file} {fault.rung}: {fault.name}" for name in names):
                continue
            if fault.only not in (None, context.stack):
                continue
            out = root / f"{fault.rung}-{fault.name.replace(' ', '-').replace('/', '-')}"
            if not (out / "done").is_file():
                _forked(context, fault, out)
            yield _tried(context, commit, file, fault, plain, out)


def described(root: Path) -> Context:
    stack = installed_stack()
    request = Request(stack, STAND_IN, "catalogue", device="cpu", threads=1)
    asked = new_context(request, root / "context", Path(sys.executable), Scale(), print)
    context = describe(asked)
    prepare(context)
    return context


def _measured(context: Context, out: Path, rungs: Sequence[str]) -> None:
    done = out / "done"
    if done.is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for rung in rungs:
        write_record(measure(replace(context, out=out), rung), out)
    done.touch()


def renew_threads() -> None:
    """In a process that was just forked: torch's pool of threads did not come along, and whoever
    asks for it first makes another. Of several threads that ask at once, as transformers 5's do
    that load weights, one may be refused ("Invalid thread pool", seen once in a hundred forks)."""
    import torch

    torch.set_num_threads(torch.get_num_threads())


def _forked(context: Context, fault: Fault, out: Path) -> None:
    """What a fault leaves behind in a process ends with it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            renew_threads()
            with fault.plant():
                _measured(context, out, rungs_for(fault))
            code = 0
        except BaseException:  # noqa: BLE001 - the parent is told by the code, a person by the trace
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"measuring with {fault.name} ended with {status}")


def red_of(context: Context, records: Mapping[str, Record]) -> dict[str, str]:
    """Rung by finding of everything that the goldens call wrong."""
    judgement = judge(records, read_goldens(), read_expected(context.stack), facts=None)
    return {item.finding: item.rung for item in judgement.red}


def compared(plain: Path, out: Path, rungs: Sequence[str]) -> Document:
    """The ladder without and with a fault, as `harness compare OLD/ NEW/` does."""
    sides = (Side("old", f"{plain}/", plain), Side("new", f"{out}/", out))
    old, new = (read_records(folder) for folder in (plain, out))
    question = Question(sides, ({r: old[r] for r in rungs}, new), (), frozenset())
    return document_of(question.judged())


def _tried(context: Context, commit: str, file: str, fault: Fault, plain: Path, out: Path) -> Tried:
    rungs = rungs_for(fault)
    without, records = read_records(plain), read_records(out)
    was = red_of(context, {rung: without[rung] for rung in rungs})
    red = {f: rung for f, rung in red_of(context, records).items() if f not in was}
    first = next((rung for rung in RUNGS if rung in red.values()), "")
    document = compared(plain, out, rungs)
    own = [finding for finding in document.findings if not finding.cause]
    return Tried(
        kind=PLANTED,
        half=AFTER if commit else BEFORE,
        frozen=commit,
        name=fault.name,
        library="",
        stack=context.stack,
        says=fault.name,
        source=file,
        expected=fault.rung,
        found=first,
        moved=own[0].rung if own else "",
        metrics=tuple(sorted(f for f, rung in red.items() if rung == first)[:3]),
        headings=headings(document),
        headings_frozen=headings(document),
        rungs=rungs,
        lost=tuple(rung for rung in rungs if is_broken(records[rung])),
    )


def is_broken(record: Record) -> bool:
    """Whether the probe itself ended in an error."""
    return any(metric.name == "probe" for metric in record.metrics)
