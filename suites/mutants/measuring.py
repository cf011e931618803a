"""Mutants tried one after the other: whether each acts; what the judge says of those that do."""

from __future__ import annotations

import gc
import importlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.measuring.child.job import measure
from harness.measuring.models import family
from harness.measuring.training.spec import spec_for
from harness.records.context import Context
from harness.records.files import read_json, write_json
from harness.records.folders import GOLDEN
from harness.records.record import RUNGS, read_records, write_record
from harness.records.typed import build
from suites.faults.late import short_run
from suites.mutants import children, observer, planting, record
from suites.mutants.frame import PHASES, SET_UP, SHARES, WORK, Frame, Mutant, library_of, traced
from suites.mutants.operators import edits, shown
from suites.mutants.record import Half, Tried
from suites.mutants.stages import STAGES
from suites.mutation.swapped import Alive, alive
from suites.pictures import leave_out_large
from suites.trial.planted import compared, described, is_broken, red_of

# Of halves of the sample, written down before the first was tried.
SEEDS = {"first": 271828, "second": 1618033}
ONE = "one"
LADDER = RUNGS[2:13]
OBSERVED_S, MEASURED_S = 60.0, 300.0
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
    modules, lines, plain = root / "modules.json", root / "lines.json", root / "stages.json"
    if not modules.is_file():
        _well(children.forked(lambda: _first(context, modules), root / "imports", 600))
    for name in read_json(modules):
        # Some are made by a run itself.
        with suppress(ImportError):
            importlib.import_module(name)
    if not lines.is_file():
        _well(children.forked(lambda: _executed(context, lines), root / "traced", 600))
    if not (root / "plain" / "done").is_file():
        shutil.rmtree(root / "plain", ignore_errors=True)
        _well(children.forked(lambda: _ladder(context, root / "plain"), root / "plain", 600))
    for number in range(ALIKE):
        if not (folder := root / f"alike{number}").is_dir():
            _well(children.forked(lambda f=folder: _observed(context, f), folder, 600))
        if number == 0:
            shutil.copy(folder / "seen.json", plain)
        if (seen := read_json(folder / "seen.json")) != read_json(plain):
            raise RuntimeError(f"without a mutant {seen}, not {read_json(plain)}")
    functions = alive()
    # What is alive now stays: no fork's collector walks through it, and no page of it is copied.
    gc.collect()
    gc.freeze()
    return Bench(root, context, Frame(SITE, read_json(lines)), functions, read_json(plain))


def _well(error: str) -> None:
    if error:
        raise RuntimeError(f"without a mutant: {error}")


def _first(context: Context, modules: Path) -> None:
    """What a training and the ladder import, some of it when it is first used."""
    _observed(context, Path())
    _ladder(context, Path("ladder").resolve())
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

    found = ("read_processor", "made_trainer", "save", "reloaded")
    with ExitStack() as stack:
        for name in found:
            stack.enter_context(setting_up(name))
        # Looks of ours are not the recipe's.
        stack.enter_context(mock.patch.object(observer, "_looks", return_value=()))
        write_json(lines, traced(SITE, lambda: _observed(context, Path()), lambda: now[0]))


def _observed(context: Context, folder: Path) -> None:
    """Leaves every stage's digest as it is made."""
    seen: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as work:
        for stage, digest in observer.observe(spec_for(context), Path(work)):
            seen[stage] = digest
            write_json(folder / "seen.json", seen)


def _ladder(
    context: Context, out: Path, enough: Callable[[str], bool] = lambda rung: False
) -> None:
    """Every rung's record, up to one that is enough."""
    with short_run(), pytest.MonkeyPatch().context() as patch:
        leave_out_large(patch, family(context.family))
        for rung in LADDER:
            write_record(measure(replace(context, out=out), rung), out)
            if enough(rung):
                break
    (out / "done").touch()


def tried(
    bench: Bench, half: str, acting: int, seconds: float, *, judging: bool = True
) -> Iterator[Tried]:
    """Those of a half, the kept ones first, until so many act; none is begun after `seconds`.
    judging: not only whether it acts."""
    end, folder = time.monotonic() + seconds, bench.root / half
    folder.mkdir(exist_ok=True)
    earlier = list(SEEDS)[: list(SEEDS).index(half)]
    before = [one.name for name in earlier for one in kept(bench.root, name)]
    draws = bench.frame.draws(SEEDS[half], before)
    count = 0
    for number, mutant in enumerate(draws):
        path = folder / f"{number:04d}.json"
        one = build(Tried, read_json(path)) if path.is_file() else None
        waits = judging and one is not None and one.outcome == record.ACTS and not one.rungs
        if (one is None or waits) and time.monotonic() > end:
            break
        if one is None:
            one = _looked(bench, mutant, half, number)
        if judging and not one.rungs:
            one = _judged(bench, mutant, one)
        write_json(path, asdict(one))
        yield one
        count += one.outcome == record.ACTS
        if count >= acting:
            break


def one(bench: Bench, name: str) -> Tried:
    """A mutant of that name, executed or not, tried by itself."""
    file, _, _ = name.partition(":")
    every = (Mutant(file, edit, WORK) for edit in edits((SITE / file).read_bytes()))
    mutant = next(mutant for mutant in every if mutant.name == name)
    shutil.rmtree(bench.root / ONE, ignore_errors=True)
    return _judged(bench, mutant, _looked(bench, mutant, ONE, 0))


def kept(root: Path, half: str) -> list[Tried]:
    """Those of a half that the folder has."""
    return [build(Tried, read_json(p)) for p in sorted((root / half).glob("[0-9]*.json"))]


def _work(bench: Bench, half: str, number: int, what: str) -> Path:
    return bench.root / half / f"{number:04d}-{what}"


def _looked(bench: Bench, mutant: Mutant, half: str, number: int) -> Tried:
    """Whether it acts."""
    source, edit = (SITE / mutant.file).read_bytes(), mutant.edit
    before, after = shown(edit, source)
    one = Tried(
        half=half,
        number=number,
        phase=mutant.phase,
        library=library_of(mutant.file),
        file=mutant.file,
        function=edit.function,
        line=edit.line,
        column=edit.column,
        operator=edit.operator,
        variant=edit.variant,
        before=before,
        after=after,
        outcome=record.EQUIVALENT,
    )
    folder = _work(bench, half, number, "looked")

    def work() -> None:
        planting.plant(mutant, SITE, bench.alive)
        _observed(bench.context, Path())

    error = children.forked(work, folder, OBSERVED_S)
    path = folder / "seen.json"
    seen = read_json(path) if path.is_file() else {}
    if error.startswith(("suites.mutants.planting.NotPlantable", "NotPlantable")):
        return replace(one, outcome=record.NOT_PLANTABLE, error=error.partition(": ")[2])
    if error:
        hung = error in (children.HUNG, children.TOO_LARGE)
        stage = next((stage for stage in STAGES if stage not in seen), "")
        outcome = record.HUNG if hung else record.CRASHED
        return replace(one, outcome=outcome, error=error[:120], stage=stage)
    moved = tuple(stage for stage in STAGES if seen[stage] != bench.plain[stage])
    if not moved:
        return one
    expected = STAGES[moved[0]]
    return replace(one, outcome=record.ACTS, stage=moved[0], moved=moved, expected=expected)


def _judged(bench: Bench, mutant: Mutant, one: Tried) -> Tried:
    """What the judge says of one that acts: the ladder up to its own rung, and on to the first that
    is red."""
    if one.outcome != record.ACTS:
        return one
    out = _work(bench, one.half, one.number, "ladder")
    plain = bench.root / "plain"

    def new_red() -> dict[str, str]:
        records = read_records(out)
        without = {r: rec for r, rec in read_records(plain).items() if r in records}
        was = red_of(bench.context, without)
        return {f: r for f, r in red_of(bench.context, records).items() if f not in was}

    def enough(rung: str) -> bool:
        return LADDER.index(rung) >= LADDER.index(one.expected) and bool(new_red())

    def work() -> None:
        planting.plant(mutant, SITE, bench.alive)
        _ladder(bench.context, out, enough)

    error = children.forked(work, out, MEASURED_S)
    red, records = new_red(), read_records(out)
    rungs = tuple(rung for rung in LADDER if rung in records)
    found = next((rung for rung in rungs if rung in red.values()), "")
    document = compared(plain, out, rungs) if rungs else None
    own = [f for f in document.findings if not f.cause] if document else []
    return replace(
        one,
        error=error[:120],
        found=found,
        metrics=tuple(sorted(f for f, rung in red.items() if rung == found)[:3]),
        broken=bool(found) and is_broken(records[found]),
        compared=own[0].rung if own else "",
        rungs=rungs,
    )


def code() -> str:
    """The last commit of what judges."""
    root = GOLDEN.parent
    words = ["git", "log", "-1", "--format=%h", "--", "harness", "golden/truth", "golden/bands"]
    return subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout[:7]


def document(bench: Bench, halves: dict[str, Half], tried: tuple[Tried, ...]) -> record.Mutants:
    """What is kept of it."""
    context = bench.context
    return record.Mutants(
        device_key=context.device_key,
        stack=context.stack,
        versions={n: v for n, v in context.versions.items() if n in SHARES},
        population=bench.frame.sizes(),
        phases=PHASES,
        shares=SHARES,
        halves=halves,
        tried=tried,
    )
