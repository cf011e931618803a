"""Measure two stacks side by side: environments, children, resume, experiments.

The judging world's driver: it starts processes and reads files. What is compared with what is
decided by pairs.py and comparison.py, which know nothing of processes.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from harness.errors import BadInput
from harness.judging.compare.comparison import rung_of
from harness.judging.workers.measure import LIMIT_S, cross, measure
from harness.records.context import Context
from harness.records.record import RUNGS, Record, read_records
from harness.records.seals import read_sealed

# Schemas of indices that were written before they had a seal.
UNSEALED = (None,)
T = TypeVar("T")
# Peak of one measuring process on the stand-in is 2 GB; twice that leaves room for the page cache.
MEMORY_PER_CHILD = 4 * 2**30
TICK_S = 0.3
# The values that can be handed over (exchange.py), in ladder order; the trained adapter,
# trajectory's, has an experiment of its own.
HANDED = ("text", "ids", "images", "labels", "batches", "inputs", "attention", "update")
# The rungs that the handed values reach. Cost is counted on its own batches, the model's inventory
# knows no batch; generation follows from the adapter.
FOLLOWING = frozenset({"ids", "labels", "inputs", "forward", "backward", "update", "trajectory"})


@dataclass(frozen=True)
class Side:
    """One side of a comparison. text: as it was given. python, context: None for a directory of
    records, which is read and never measured."""

    name: str
    text: str
    out: Path
    python: Path | None = None
    context: Context | None = None

    @property
    def is_stack(self) -> bool:
        """Whether it can be measured."""
        return self.context is not None

    def label(self, records: Mapping[str, Record]) -> str:
        """What to call it: the stack that its records name."""
        return next(iter(records.values())).provenance.stack if records else self.text


def parse_rungs(text: str) -> tuple[str, ...]:
    """`2-9`, `text,ids`, `4,7-8` or nothing (all). Raises BadInput naming the part."""
    if not text:
        return RUNGS
    chosen: set[str] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first in RUNGS and not dash:
            chosen.add(first)
        elif part.isascii() and first.isdigit() and (last.isdigit() or not dash):
            start, end = int(first), int(last or first)
            if start > end or end >= len(RUNGS):
                raise BadInput(f"--rungs {part!r} is no range within 0-{len(RUNGS) - 1}.")
            chosen |= set(RUNGS[start : end + 1])
        else:
            raise BadInput(
                f"--rungs {part!r} is no rung; give numbers (2-9) or names: {', '.join(RUNGS)}."
            )
    return tuple(rung for rung in RUNGS if rung in chosen)


def available_memory() -> int:
    """Bytes that can be had without swapping, as Linux estimates it; 0 where it does not say."""
    path = Path("/proc/meminfo")
    if path.is_file():
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def children(cuda: bool) -> int:
    """How many measuring processes run at once: two where cores and memory allow it.

    On CUDA one: two would share the device's memory and disturb each other's peaks.
    """
    enough = available_memory() >= 2 * MEMORY_PER_CHILD and (os.cpu_count() or 1) >= 2
    return 2 if enough and not cuda else 1


def together(
    jobs: Sequence[Callable[[Callable[[], None]], T]], at_once: int, tick: Callable[[], None]
) -> list[T]:
    """Run jobs in threads; every job gets a function that raises KeyboardInterrupt when all must
    stop. The first error stops the others and is raised after they have ended."""
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        waiting: list[Future[T]] = [pool.submit(job, check) for job in jobs]
        try:
            while not all(f.done() for f in waiting):
                failed = [f for f in waiting if f.done() and f.exception() is not None]
                if failed:
                    break
                tick()
                time.sleep(TICK_S)
        finally:
            if not all(f.done() for f in waiting):
                stop.set()
    errors = [e for f in waiting if (e := f.exception()) is not None]
    # The stopped ones only say that they were stopped.
    real = [e for e in errors if not isinstance(e, KeyboardInterrupt)] or errors
    if real:
        raise real[0]
    tick()
    return [f.result() for f in waiting]


def measure_sides(
    sides: Sequence[Side],
    rungs: Sequence[str],
    tick: Callable[[], None],
    *,
    at_once: int,
    limit_s: float = LIMIT_S,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Record]]:
    """Records of every side: measured where it is a stack (existing ones are kept), else read.

    Raises KeyboardInterrupt after the children have ended; finished rungs are on disk.
    """

    def job(side: Side) -> Callable[[Callable[[], None]], dict[str, Record]]:
        def run(check: Callable[[], None]) -> dict[str, Record]:
            if side.context is None:
                records = read_records(side.out)
                return {rung: records[rung] for rung in rungs if rung in records}
            return measure(
                side.context,
                rungs,
                side.python,
                lambda line: progress(f"{side.name}: {line}"),
                limit_s=limit_s,
                tick=check,
            )

        return run

    return together([job(side) for side in sides], at_once, tick)


def handed_values(out: Path) -> dict[str, dict[str, str]]:
    """Digests of everything a side handed over, by rung and address.

    Raises BadInput naming an index file that holds something else, Damaged one that is not as it
    was written.
    """
    digests: dict[str, dict[str, str]] = {}
    for path in sorted((out / "given" / "index").glob("*.json")):
        index = read_sealed(path, "delete it and measure again", UNSEALED)
        # Before there were seals an index was the digests alone.
        by_rung = index.get("digests", index)
        if not isinstance(by_rung, dict) or not all(isinstance(v, dict) for v in by_rung.values()):
            raise BadInput(f"{path} holds no digests by rung; delete it and measure again.")
        for rung, values in by_rung.items():
            digests.setdefault(rung, {}).update(values)
    return digests


def differing_values(old: Path, new: Path, handed: Sequence[str]) -> tuple[str, ...]:
    """The rungs whose handed-over values differ at an address that both sides have.

    Positions are addressed by ids: where those differ no address is shared, and the ids, which
    come first, are the cause.
    """
    before, after = handed_values(old), handed_values(new)
    return tuple(
        rung
        for rung in handed
        if any(
            before.get(rung, {}).get(key) != digest
            for key, digest in after.get(rung, {}).items()
            if key in before.get(rung, {})
        )
    )


def drop_values(out: Path) -> None:
    """Delete what a side handed over, 100 MB of pictures, once the causes are known.

    The index of digests stays: resuming a finished comparison plans the same experiments and
    finds their records.
    """
    for path in (out / "given").glob("*"):
        if path.name == "positions":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


@dataclass(frozen=True)
class Trial:
    """One experiment: the rungs taken from OLD, and those measured again on NEW."""

    given: tuple[str, ...]
    rungs: tuple[str, ...]


def plan(differing: Sequence[str], moved: Sequence[str], adapter: bool) -> tuple[Trial, ...]:
    """The experiments that decide what follows from what.

    differing: rungs whose handed value differs. moved: rungs with a difference. Each trial takes
    one value more than the one before, in ladder order, and measures the later rungs that moved.
    adapter: whether NEW can be given OLD's adapter, which decides generation by itself.
    """
    trials = []
    order = {rung: i for i, rung in enumerate(RUNGS)}
    moved = [rung for rung in moved if rung in FOLLOWING or rung == "generation"]
    for count in range(1, len(differing) + 1):
        given = tuple(differing[:count])
        after = order[rung_of(given[-1])]
        later = [r for r in moved if order[r] > after and r in FOLLOWING]
        if count < len(differing):
            # The training takes longest; it is decided with everything given at once.
            later = [r for r in later if r != "trajectory"]
        if later:
            trials.append(Trial(given, tuple(later)))
    if adapter and "generation" in moved and "trajectory" in moved:
        trials.append(Trial(("trajectory",), ("generation",)))
    return tuple(trials)


def try_causes(
    new: Side,
    old: Side,
    trials: Sequence[Trial],
    tick: Callable[[], None],
    *,
    at_once: int,
    limit_s: float = LIMIT_S,
) -> list[dict[str, Record]]:
    """Run the trials on NEW with OLD's values; one record set per trial."""
    assert new.context is not None
    sides = []
    for trial in trials:
        folders = {
            rung: str(old.out / ("training" if rung == "trajectory" else "given"))
            for rung in trial.given
        }
        out = new.out.parent / "trials" / "+".join(trial.given)
        context = replace(new.context, out=out, exchange="digest", given=folders)
        sides.append((Side("+".join(trial.given), new.text, out, new.python, context), trial.rungs))

    def job(side: Side, rungs: Sequence[str]) -> Callable[[Callable[[], None]], dict[str, Record]]:
        assert side.context is not None
        context = side.context
        return lambda check: measure(context, rungs, side.python, limit_s=limit_s, tick=check)

    return together([job(side, rungs) for side, rungs in sides], at_once, tick)


def cross_adapters(
    sides: tuple[Side, Side],
    tick: Callable[[], None],
    *,
    at_once: int,
    limit_s: float = LIMIT_S,
) -> tuple[Side, Side] | None:
    """Have each stack read the adapters that both have saved; None where one has not trained.

    The records lie in `<out>/crossed`, as rung 11 of sides that can be paired.
    """
    folders = {f"saved_by_{s.name}": s.out / "training" / "adapter" for s in sides}
    if not all(folder.is_dir() for folder in folders.values()):
        return None
    crossed = []
    for side in sides:
        assert side.context is not None
        out = side.out / "crossed"
        crossed.append(replace(side, out=out, context=replace(side.context, out=out, exchange="")))

    def job(side: Side) -> Callable[[Callable[[], None]], Record]:
        assert side.context is not None
        assert side.python is not None
        context, python = side.context, side.python
        return lambda check: cross(context, folders, python, check, limit_s)

    together([job(side) for side in crossed], at_once, tick)
    return crossed[0], crossed[1]
