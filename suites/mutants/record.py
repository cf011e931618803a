"""What came of every mutant that was drawn: golden/power/mutants.json, sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace

from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build

# History: 1 (2026-11) first format.
SCHEMA = 1
PATH = GOLDEN / "power" / "mutants.json"
MEND = "try again with `python -m suites.mutants`"
CRASHED, HUNG, EQUIVALENT, ACTS = "crashed", "hung", "equivalent", "acts"
NOT_PLANTABLE = "not plantable"


@dataclass(frozen=True)
class Tried:
    """One mutant.

    number: of its half's draw, from 0. phase: as suites.mutants.frame has them. before, after: its
    line. outcome: of a training and generation with it; an error is not silent, and counts as
    nothing found. error: of one that
    crashed, hung or could not be planted. stage: by which the training had come when it crashed,
    of one that acts the first that moved. moved: every stage that moved. expected: the stage's
    rung, '' of one that does not act. found: the first rung that is red with it and not without;
    '' where none of `rungs` is. metrics: some of what is red there. broken: the probe's own error
    is all that is. compared: the first rung with a difference from the same measurement without
    it, whatever the goldens say; '' where there is none. since: of one that was not red in time,
    the first rung that is by later code, which its reason may have shaped; its outcome, where that
    is another by then.
    """

    half: str
    number: int
    phase: str
    library: str
    file: str
    function: str
    line: int
    column: int
    operator: str
    variant: int
    before: str
    after: str
    outcome: str
    error: str = ""
    stage: str = ""
    moved: tuple[str, ...] = ()
    expected: str = ""
    found: str = ""
    metrics: tuple[str, ...] = ()
    broken: bool = False
    compared: str = ""
    rungs: tuple[str, ...] = ()
    since: str = ""

    @property
    def name(self) -> str:
        """As suites.mutants.frame.Mutant's."""
        return f"{self.file}:{self.line}:{self.column} {self.operator} {self.variant}"


NEEDED = frozenset(each.name for each in fields(Tried) if each.default is MISSING)


@dataclass(frozen=True)
class Half:
    """seed: of its draw. code: the last commit of what judged it, harness/ and golden/. alike:
    forks without a mutant whose every stage was the same, bit for bit."""

    seed: int
    code: str
    alike: int


@dataclass(frozen=True)
class Mutants:
    """All of them. versions: of the libraries mutated. population: by phase and library, how many
    files, executed lines, functions and mutants there are to draw from. phases, shares: of a
    hundred draws. again: the code that `since` is by."""

    device_key: str
    stack: str
    versions: Mapping[str, str]
    population: Mapping[str, Mapping[str, Mapping[str, int]]]
    phases: Mapping[str, int]
    shares: Mapping[str, int]
    halves: Mapping[str, Half]
    tried: tuple[Tried, ...]
    again: str = ""
    schema: int = SCHEMA


def read() -> Mutants:
    """As it is kept."""
    return build(Mutants, read_sealed(PATH, MEND))


def write(mutants: Mutants) -> None:
    """Sealed, in the order of the draws; of a mutant only what there is to say."""
    ordered = sorted(mutants.tried, key=lambda one: (one.half, one.number))
    tried = [{k: v for k, v in asdict(one).items() if v or k in NEEDED} for one in ordered]
    write_sealed(PATH, {**asdict(replace(mutants, tried=())), "tried": tried})
