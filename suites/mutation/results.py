"""What became of every fault: kept while it is worked on, and what is committed of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.records.files import read_object, write_json
from harness.records.typed import build
from suites.mutation import targets
from suites.mutation.targets import ROOT, TARGETS

HERE = Path(__file__).parent
KEPT, RESULTS = targets.KEPT / "tried.json", HERE / "results.json"
REASONS = HERE / "reasons.json"
MEND = "run `tox -e mutation`"


class Outcome(StrEnum):
    """killed: a test failed. endless: none ended in time, which a test would show as well.
    survived: no test noticed. unseen: no test runs the line."""

    KILLED = "killed"
    ENDLESS = "endless"
    SURVIVED = "survived"
    UNSEEN = "unseen"


KILLED = frozenset({Outcome.KILLED, Outcome.ENDLESS})


@dataclass(frozen=True)
class Fault:
    """A fault without its module's source."""

    operator: str
    occurrence: int
    line: int
    before: str
    after: str
    outcome: Outcome
    test: str = ""

    @property
    def name(self) -> str:
        """Unique in its module."""
        return f"{self.operator}:{self.occurrence}"


@dataclass
class Module:
    """digest: of the source that the faults are of. planted: how many there are to try."""

    digest: str
    planted: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def killed(self) -> int:
        """How many a test noticed."""
        return sum(fault.outcome in KILLED for fault in self.faults.values())

    @property
    def left(self) -> tuple[Fault, ...]:
        """Those that none did, by line."""
        left = (fault for fault in self.faults.values() if fault.outcome not in KILLED)
        return tuple(sorted(left, key=lambda fault: (fault.line, fault.name)))


def digest(module: str) -> str:
    """Of a module's source."""
    return hashlib.sha256((ROOT / module).read_bytes()).hexdigest()[:16]


# What is tried: by trial, by module.
Trials = dict[str, dict[str, Module]]


def read() -> Trials:
    """As they were kept, of sources that have changed since too."""
    if not KEPT.is_file():
        return {}
    return {
        trial: {name: build(Module, raw) for name, raw in modules.items()}
        for trial, modules in read_object(KEPT, MEND).items()
    }


def write(trials: Trials) -> None:
    """In the order of the targets."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        trial: {name: asdict(modules[name]) for name in TARGETS if name in modules}
        for trial, modules in trials.items()
    }
    write_json(KEPT, kept)


@dataclass(frozen=True)
class Summary:
    """What is committed of a module. planted: the faults there are in it, faults: those of them
    that were tried. left: those that no test noticed."""

    digest: str
    planted: int
    faults: int
    killed: int
    left: tuple[Fault, ...]


def summary(modules: Mapping[str, Module]) -> dict[str, Summary]:
    """By module, in the order of the targets."""
    return {
        name: Summary(m.digest, m.planted, len(m.faults), m.killed, m.left)
        for name in TARGETS
        if (m := modules.get(name)) is not None and m.faults
    }


def publish(trials: Trials) -> None:
    """results.json: every trial that has begun, beside those that it has already."""
    shown = {**committed(), **{trial: summary(modules) for trial, modules in trials.items()}}
    write_json(
        RESULTS,
        {
            trial: {name: asdict(each) for name, each in modules.items()}
            for trial, modules in shown.items()
        },
    )


def committed() -> dict[str, dict[str, Summary]]:
    """What the last runs left, by trial and module."""
    return {
        trial: {name: build(Summary, raw) for name, raw in modules.items()}
        for trial, modules in read_object(RESULTS, MEND).items()
    }


def reasons() -> dict[str, dict[str, str]]:
    """By module and `<before> → <after>`, why a fault may stay unnoticed; written by hand."""
    return {name: dict(each) for name, each in read_object(REASONS, MEND).items()}


def spelled(fault: Fault) -> str:
    """A fault as reasons.json names it; line numbers move."""
    return f"{fault.before} → {fault.after}"
