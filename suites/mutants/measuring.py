"""Mutants tried one after the other: whether each acts; what the judge says of those that do."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness.records.files import read_json, write_json
from harness.records.folders import GOLDEN
from harness.records.record import read_records
from harness.records.typed import build
from suites.mutants import children, planting, record
from suites.mutants.bench import LADDER, SITE, Bench, ladder, moved_rung, new_red, observed
from suites.mutants.frame import PHASES, SHARES, WORK, Mutant, library_of
from suites.mutants.observer import ERROR
from suites.mutants.operators import edits, shown
from suites.mutants.record import Half, Tried
from suites.mutants.seen import EARLIER, seen
from suites.mutants.stages import STAGES
from suites.trial.planted import is_broken

# Of the draws, each written down before the first of its mutants was tried.
SEEDS = {"first": 271828, "second": 1618033, "third": 57721566}
ONE = "one"
OBSERVED_S, MEASURED_S = 60.0, 300.0


def tried(
    bench: Bench, half: str, acting: int, seconds: float, *, judging: bool = True
) -> Iterator[Tried]:
    """Those of a half, the kept ones first, until so many act; none is begun after `seconds`.
    judging: not only whether it acts."""
    end, folder = time.monotonic() + seconds, bench.root / half
    folder.mkdir(exist_ok=True)
    earlier = list(SEEDS)[: list(SEEDS).index(half)]
    before = [one.name for name in earlier for one in kept(bench.root, name)]
    before += [one.name for one in recorded() if one.half in earlier]
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


def again(bench: Bench, tried: Sequence[Tried]) -> Iterator[Tried]:
    """Those that act and were not red in time, tried by the code of now; all others as they are."""
    for each in tried:
        if each.outcome == record.ACTS and seen(each) != EARLIER:
            now = one(bench, each.name)
            print(f"{each.name}: {now.outcome} {now.found or '–'} {now.error}", flush=True)
            yield replace(each, since=now.found if now.outcome == record.ACTS else now.outcome)
        else:
            yield each


def recorded() -> tuple[Tried, ...]:
    """Those of every draw that were kept for the page, whatever folder they were tried in."""
    return record.read().tried if record.PATH.is_file() else ()


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
        observed(bench.context, Path())

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
    if all(seen[stage].startswith(ERROR) for stage in moved):
        # Nothing, or a look of ours alone: the training and its texts are the same.
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

    def enough(rung: str) -> bool:
        return LADDER.index(rung) >= LADDER.index(one.expected) and bool(
            new_red(bench.context, plain, out)
        )

    def work() -> None:
        planting.plant(mutant, SITE, bench.alive)
        ladder(bench.context, out, enough)

    error = children.forked(work, out, MEASURED_S)
    red, records = new_red(bench.context, plain, out), read_records(out)
    rungs = tuple(rung for rung in LADDER if rung in records)
    first_red = next((rung for rung in rungs if rung in red.values()), "")
    return replace(
        one,
        error=error[:120],
        found=first_red,
        metrics=tuple(sorted(f for f, rung in red.items() if rung == first_red)[:3]),
        broken=bool(first_red) and is_broken(records[first_red]),
        compared=moved_rung(plain, out),
        rungs=rungs,
    )


def code() -> str:
    """The last commit of what judges: harness/ and the goldens."""
    words = ["git", "log", "-1", "--format=%h", "--", "harness", "golden", ":!golden/power"]
    told = subprocess.run(words, cwd=GOLDEN.parent, check=True, capture_output=True, text=True)
    return told.stdout.strip()


def document(bench: Bench, halves: dict[str, Half], tried: tuple[Tried, ...]) -> record.Mutants:
    """What is kept of it."""
    context = bench.context
    return record.Mutants(
        device_key=context.device_key,
        stack=context.stack,
        versions={n: v for n, v in context.versions.items() if n.replace("-", "_") in SHARES},
        population=bench.frame.sizes(),
        phases=PHASES,
        shares=SHARES,
        halves=halves,
        tried=tried,
    )
