"""Where mutants are tried: the libraries imported, their executed lines traced, and everything
measured without one; every piece of work in a fork."""

from __future__ import annotations

import gc
import importlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.measuring.child.job import measure
from harness.measuring.models import family
from harness.measuring.training.spec import spec_for
from harness.records.context import Context
from harness.records.files import read_json, write_json
from harness.records.record import RUNGS, read_records, write_record
from suites.faults.late import short_run
from suites.mutants import children, observer
from suites.mutants.frame import SET_UP, WORK, Frame, traced
from suites.mutation.swapped import Alive, alive
from suites.pictures import leave_out_large
from suites.trial.planted import compared, described, red_of

LADDER = RUNGS[2:13]
SITE = Path(pytest.__file__).resolve().parent.parent
# How many forks without a mutant are compared with the first.
ALIKE = 3


@dataclass(frozen=True)
class Bench:
    """Where mutants are tried. plain: the stages' digests without one."""

    root: Path
    context: Context
    frame: Frame
    alive: Alive
    plain: dict[str, str]


def prepared(root: Path) -> Bench:
    """The libraries imported, the frame traced, everything measured once without a mutant; kept in
    the folder. Nothing is run in this process itself: what a library remembers of a run, a mutant
    could not change any more."""
    context = described(root)
    modules, lines = root / "modules.json", root / "lines.json"
    if not modules.is_file():
        _well(children.forked(lambda: _first(context, modules), root / "imports", 600))
    for name in read_json(modules):
        # Some are made by a run itself.
        with suppress(ImportError):
            importlib.import_module(name)
    if not lines.is_file():
        _well(children.forked(lambda: _executed(context, lines), root / "traced", 600))
    _judged_alike(context, root / "plain", root / "control")
    stages = _seen_alike(context, [root / f"alike{number}" for number in range(ALIKE)])
    functions = alive()
    # What is alive now stays: no fork's collector walks through it, and no page of it is copied.
    gc.collect()
    gc.freeze()
    return Bench(root, context, Frame(SITE, read_json(lines)), functions, stages)


def _judged_alike(context: Context, *folders: Path) -> None:
    """The ladder without a mutant, twice: nothing is red or different in one and not in both."""
    for folder in folders:
        if not (folder / "done").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _well(children.forked(lambda f=folder: ladder(context, f), folder, 600))
    plain, control = folders
    if new_red(context, plain, control) or moved_rung(plain, control):
        raise RuntimeError(f"without a mutant {plain} and {control} are judged otherwise")


def _seen_alike(context: Context, folders: Sequence[Path]) -> dict[str, str]:
    """The stages without a mutant, the same every time."""
    for folder in folders:
        if not (folder / "seen.json").is_file():
            _well(children.forked(lambda f=folder: observed(context, f), folder, 600))
    first, *others = (read_json(folder / "seen.json") for folder in folders)
    if any(other != first for other in others):
        raise RuntimeError(f"without a mutant {first} and {others}")
    return dict(first)


def _well(error: str) -> None:
    if error:
        raise RuntimeError(f"without a mutant: {error}")


def _first(context: Context, modules: Path) -> None:
    """What a training and the ladder import, some of it when it is first used."""
    observed(context, Path())
    ladder(context, Path("ladder").resolve())
    write_json(modules, [name for name in sys.modules if name != "__main__"])


def _executed(context: Context, lines: Path) -> None:
    """What a training and the generation after it run: in work, and only while they are set up."""
    now = [WORK]

    def setting_up(name: str) -> AbstractContextManager[Any]:
        right = getattr(observer, name)

        def called(*given: Any) -> Any:
            now[0] = SET_UP
            try:
                return right(*given)
            finally:
                now[0] = WORK

        return mock.patch.object(observer, name, called)

    builders = ("read_processor", "made_trainer", "save", "reloaded")
    with ExitStack() as stack:
        for name in builders:
            stack.enter_context(setting_up(name))
        # Looks of ours are not the recipe's.
        stack.enter_context(mock.patch.object(observer, "_looks", return_value=()))
        write_json(lines, traced(SITE, lambda: observed(context, Path()), lambda: now[0]))


def observed(context: Context, folder: Path) -> None:
    """Leaves every stage's digest as it is made."""
    seen: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as work:
        for stage, digest in observer.observe(spec_for(context), Path(work)):
            seen[stage] = digest
            write_json(folder / "seen.json", seen)


def ladder(context: Context, out: Path, enough: Callable[[str], bool] = lambda rung: False) -> None:
    """Every rung's record, up to one that is enough."""
    with short_run(), pytest.MonkeyPatch().context() as patch:
        leave_out_large(patch, family(context.family))
        for rung in LADDER:
            write_record(measure(replace(context, out=out), rung), out)
            if enough(rung):
                break
    (out / "done").touch()


def new_red(context: Context, plain: Path, out: Path) -> dict[str, str]:
    """Rung by finding of what is red in `out` and not in as much of `plain`."""
    records = read_records(out)
    without = {rung: record for rung, record in read_records(plain).items() if rung in records}
    was = red_of(context, without)
    return {f: rung for f, rung in red_of(context, records).items() if f not in was}


def moved_rung(plain: Path, out: Path) -> str:
    """The first that a comparison calls different by itself; '' where none is."""
    records = read_records(out)
    document = compared(plain, out, [rung for rung in LADDER if rung in records])
    return next((finding.rung for finding in document.findings if not finding.cause), "")
