"""Which faults are tried where not all can be: drawn from a seed, and committed before one is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build
from suites.mutation.results import digest
from suites.mutation.targets import ROOT, TARGETS

if TYPE_CHECKING:  # cosmic-ray is there where faults are tried, and nowhere else
    from suites.mutation.operators import Mutant

# History: 1 (2026-11) first format.
SCHEMA = 1
PATH = Path(__file__).parent / "sample.json"
MEND = "draw another with `python -m suites.mutation --draw SEED --one-in N`"
HALVES = ("first", "second")


@dataclass(frozen=True)
class Part:
    """Of one module. digest: of its source when it was drawn. planted: the faults that there are.
    first, second: names of those drawn, of either half."""

    digest: str
    planted: int
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One in so many of the faults of every module. drawn: when, in UTC."""

    seed: int
    one_in: int
    drawn: str
    modules: Mapping[str, Part]
    schema: int = SCHEMA


def half_of(seed: int, one_in: int, module: str, fault: str) -> str | None:
    """Which half a fault is in, by the digest of its name and the seed; None for neither."""
    number = number_of(seed, module, fault)
    return None if number % one_in else HALVES[number // one_in % 2]


def number_of(seed: int, module: str, fault: str) -> int:
    """By which a half is drawn, and its faults are tried: where time ends, those that were tried
    are a sample too."""
    return int.from_bytes(hashlib.sha256(f"{seed} {module} {fault}".encode()).digest(), "big")


def draw(seed: int, one_in: int, now: str) -> Sample:
    """A sample of today's sources."""
    modules = {}
    for name in TARGETS:
        faults = [fault.name for fault in faults_of(name)]
        halves = {fault: half_of(seed, one_in, name, fault) for fault in faults}
        first, second = (tuple(f for f in faults if halves[f] == half) for half in HALVES)
        modules[name] = Part(digest(name), len(faults), first, second)
    return Sample(seed, one_in, now, modules)


def faults_of(module: str) -> tuple[Mutant, ...]:
    """Every fault of a module as it is today."""
    from suites.mutation.operators import mutants_of

    return mutants_of((ROOT / module).read_text(encoding="utf-8"))


def chosen(sample: Sample, half: str, module: str) -> tuple[Mutant, ...]:
    """The faults of one half of a module's. One that has changed since is drawn anew, by the same
    seed: its names mean other places now."""
    return tuple(
        fault
        for fault in faults_of(module)
        if half_of(sample.seed, sample.one_in, module, fault.name) == half
    )


def write(sample: Sample, path: Path = PATH) -> None:
    """Sealed."""
    write_sealed(path, asdict(sample))


def read(path: Path = PATH) -> Sample:
    """Raises BadInput naming a file that is malformed, Damaged one that was edited."""
    try:
        return build(Sample, read_sealed(path, MEND))
    except ValueError as error:
        raise BadInput(f"{path} is no complete sample ({error}); {MEND}.") from error
