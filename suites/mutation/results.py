"""What became of every fault: kept while it is worked on, and the page that is committed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from harness.records.files import read_object, write_atomically, write_json
from harness.records.typed import build
from suites.mutation import targets
from suites.mutation.targets import ROOT, TARGETS

HERE = Path(__file__).parent
KEPT, RESULTS = targets.KEPT / "tried.json", HERE / "results.json"
REASONS, PAGE = HERE / "reasons.json", HERE / "SURVIVORS.md"
MEND = "run `tox -e mutation`"


class Outcome(StrEnum):
    """killed: a test failed. endless: none ended in time, which a test would show as well.
    survived: no test noticed. unseen: no test runs the line."""

    KILLED = "killed"
    ENDLESS = "endless"
    SURVIVED = "survived"
    UNSEEN = "unseen"


KILLED = frozenset({Outcome.KILLED, Outcome.ENDLESS})


class Named(Protocol):
    """A fault, with its source or without."""

    @property
    def name(self) -> str:
        """Unique in its module."""


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


def drawn(module: str, fault: Named, one_in: int) -> bool:
    """Whether a fault is in a sample of one in so many: by its name's digest, so that a smaller
    sample is part of a larger one of a multiple."""
    number = hashlib.sha256(f"{module} {fault.name}".encode()).digest()
    return int.from_bytes(number, "big") % one_in == 0


def digest(module: str) -> str:
    """Of a module's source."""
    return hashlib.sha256((ROOT / module).read_bytes()).hexdigest()[:16]


def read() -> dict[str, Module]:
    """By module, those of which the source is still the one that was tried."""
    if not KEPT.is_file():
        return {}
    modules = {name: build(Module, raw) for name, raw in read_object(KEPT, MEND).items()}
    return {name: m for name, m in modules.items() if name in TARGETS and m.digest == digest(name)}


def write(modules: Mapping[str, Module]) -> None:
    """In the order of the targets."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    write_json(KEPT, {name: asdict(modules[name]) for name in TARGETS if name in modules})


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


def sentence(modules: Mapping[str, Summary]) -> str:
    """How many of all the faults a test noticed."""
    faults = sum(module.faults for module in modules.values())
    killed = sum(module.killed for module in modules.values())
    share = killed / faults if faults else 0.0
    planted = sum(module.planted for module in modules.values())
    of = "" if faults == planted else f", a sample of {planted:,} in these modules"
    return f"{killed:,} of {faults:,} faults were noticed by a test: {share:.1%}{of}"


def publish(modules: Mapping[str, Module]) -> None:
    """results.json and the page."""
    write_json(RESULTS, {name: asdict(each) for name, each in summary(modules).items()})
    write_atomically(PAGE, page(committed(), reasons()).encode("utf-8"))


def committed() -> dict[str, Summary]:
    """What the last run left, by module."""
    return {name: build(Summary, raw) for name, raw in read_object(RESULTS, MEND).items()}


def reasons() -> dict[str, dict[str, str]]:
    """By module and `<before> → <after>`, why a fault may stay unnoticed; written by hand."""
    return {name: dict(each) for name, each in read_object(REASONS, MEND).items()}


def spelled(fault: Fault) -> str:
    """A fault as reasons.json names it; line numbers move."""
    return f"{fault.before} → {fault.after}"


def page(modules: Mapping[str, Summary], reasons: Mapping[str, Mapping[str, str]]) -> str:
    """SURVIVORS.md: the counts, and every fault that no test noticed with the reason."""
    lines = [
        "# The judge's own code, with one fault at a time",
        "",
        "Written by `tox -e mutation` from `results.json` and `reasons.json`: "
        f"{sentence(modules)}.",
        "",
        "| module | faults | tried | noticed | |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{name}` | {each.planted} | {each.faults} | {each.killed} "
        f"| {each.killed / each.faults:.0%} |"
        for name, each in modules.items()
    ]
    for name, each in modules.items():
        if each.left:
            lines += ["", f"## `{name}`", ""]
        for fault in each.left:
            reason = reasons.get(name, {}).get(
                spelled(fault), "no reason is known: a test is wanted"
            )
            lines.append(f"- line {fault.line}, `{fault.before}` → `{fault.after}`: {reason}")
    return "\n".join([*lines, ""])
