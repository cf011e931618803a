"""All pairs of two stacks together: findings, what explains them, the verdict.

Pure: from pairs, experiments and the register to a Comparison. document.py writes it down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from harness.judging.compare.lost import is_lost
from harness.judging.compare.pairs import Pair
from harness.judging.compare.register import Change
from harness.judging.compare.second import SecondLook
from harness.judging.environments.given import KINDS
from harness.records.recipes import PUBLISHED, recipe_called
from harness.records.record import Verdict

RED = frozenset({Verdict.CHANGED, Verdict.WORSE, Verdict.BROKEN})


def is_directory(text: str) -> bool:
    """Whether a side is a directory of records: a `/` before any comma, and no kind of a stack of
    the user's own before a colon."""
    return text.partition(":")[0] not in KINDS and "/" in text.split(",", 1)[0]


def rung_of(handed: str) -> str:
    """The rung at which a handed-over value belongs; most are called like their rung."""
    return {"attention": "inputs", "batches": "labels"}.get(handed, handed)


@dataclass(frozen=True)
class Experiment:
    """A re-run of later rungs on NEW with earlier values taken from OLD.

    given: the values that were taken, in ladder order; the last is the one it tests.
    """

    given: tuple[str, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Finding:
    """A difference. known: register entries that explain it. cause: the finding that it follows
    from, with how that is known; empty where it stands for itself. rest: what is left of an own
    difference when NEW was given OLD's earlier values (given). covered: whether what it follows
    from is red or accepted."""

    pair: Pair
    rest: Pair | None = None
    given: tuple[str, ...] = ()
    known: tuple[Change, ...] = ()
    cause: str = ""
    cause_note: str = ""
    accepted: bool = False
    covered: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it follows from no earlier finding."""
        return not self.cause

    @property
    def is_unknown(self) -> bool:
        """Whether it stands for itself and nothing in the register explains it."""
        return self.is_own and not self.known

    @property
    def is_red(self) -> bool:
        """Whether it raises the exit code. What follows from another finding is judged there,
        if that one is judged at all: what follows from an improvement is a difference still."""
        if self.accepted or self.covered or self.pair.broken == "both":
            return False
        # What OLD could not do and NEW can is BROKEN too: no reason against the upgrade, but a
        # difference.
        return self.pair.verdict in RED

    @property
    def severity(self) -> str:
        """The worst of the explaining changes; `unknown` without one."""
        order = ("wrong training", "crash", "cost", "cosmetic")
        severities = [c.severity for c in self.known]
        return min(severities, key=order.index) if severities else "unknown"


@dataclass(frozen=True)
class MissingRung:
    """A rung that could not be compared at all. sides: those without a record of it, `OLD`,
    `NEW`."""

    rung: str
    sides: tuple[str, ...]

    @property
    def reason(self) -> str:
        """For people."""
        return f"{' and '.join(self.sides)} left no record of it"


# A longer list of requirements, or a longer path, would head a page with six lines.
MOST_OF_A_NAME = 40
# An environment's own name is the third from the end of its interpreter's path.
END_OF_A_PATH, END_OF_A_DIGEST = 3, 6


def _short_name(stack: str, text: str, parts: int) -> str:
    """A side's name in a headline. text: as the user gave it. parts: of a folder's path."""
    base, *requirements = stack.split(",")
    if len(stack) > MOST_OF_A_NAME and len(requirements) > 1:
        stack = f"{_short_path(base)} with {len(requirements)} requirements"
    elif len(stack) > MOST_OF_A_NAME:
        stack = ",".join(_short_path(part) for part in (base, *requirements))
    if not is_directory(text):
        return stack
    folder = str(PurePath(*PurePath(text).parts[-parts:]))
    return f"{folder}/ ({stack})"


def _short_path(part: str) -> str:
    """`python:/home/someone/envs/new/bin/python#c94628a2d401818f` by the path's end and the
    digest's beginning, `trl @ git+https://host/someone/trl@ref` by its end; what is no path as it
    is."""
    whole, _, digest = part.partition("#")
    before, at, address = whole.rpartition(" @ ")
    scheme, remote, path = address.partition("://")
    if not remote:
        scheme, _, path = address.partition("/")
    kept = 2 if remote else END_OF_A_PATH
    ends = path.strip("/").split("/")
    if len(ends) <= kept:
        return part
    short = before + at + ("" if remote else scheme) + "/".join(ends[-kept:])
    return f"{short}#{digest[:END_OF_A_DIGEST]}" if digest else short


@dataclass(frozen=True)
class Comparison:
    """Two stacks, their pairs and findings in ladder order.

    established: whether causes were tried by experiments; False with record directories.
    missing: rungs that could not be compared at all. given: each side as the user gave it, a stack
    or a folder of records; old and new are the stacks that the records name. looks: what may have
    been noise and was measured again; of those that did not come back `pairs` has the second.
    accepted: the finding ids that the user accepts.
    """

    old: str
    new: str
    versions: tuple[Mapping[str, str], Mapping[str, str]]
    facts: Mapping[str, str]
    rungs: tuple[str, ...]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    established: bool
    experiments: tuple[Experiment, ...] = ()
    missing: tuple[MissingRung, ...] = ()
    stale_accepts: tuple[str, ...] = ()
    seconds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    given: tuple[str, str] = ("", "")
    looks: tuple[SecondLook, ...] = ()
    accepted: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, str]:
        """What to call the sides in a headline: short, and never the same for both.

        A folder by its last parts, as many as tell the two apart, with the stack of its records; a
        stack of many requirements by its name and their number, one that is a long path by the
        path's end. `given` has each side whole.
        """
        longest = max(len(PurePath(text).parts) for text in self.given)
        tried = [self._called(parts) for parts in range(1, max(longest, 1) + 1)]
        return next((names for names in tried if names[0] != names[1]), tried[0])

    def _called(self, parts: int) -> tuple[str, str]:
        sides = zip((self.old, self.new), self.given, strict=True)
        old, new = (_short_name(stack, text, parts) for stack, text in sides)
        return old, new

    @property
    def own(self) -> tuple[Finding, ...]:
        """Findings that stand for themselves."""
        return tuple(f for f in self.findings if f.is_own)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """Own findings that the register does not know."""
        return tuple(f for f in self.findings if f.is_unknown)

    @property
    def red(self) -> tuple[Finding, ...]:
        """What raises the exit code to 1."""
        return tuple(f for f in self.findings if f.is_red)

    @property
    def both_wrong(self) -> tuple[Pair, ...]:
        """Pairs where both sides miss the truth; the upgrade changes nothing about that."""
        return tuple(p for p in self.pairs if p.standing == "both wrong")

    @property
    def lost(self) -> tuple[Pair, ...]:
        """Required measurements that are missing: not comparable, broken on both sides and not
        accepted, or run on one side only for no known limit of the machine."""
        known = {pair.finding for pair in self.accepted_breaks}
        return tuple(p for p in self.pairs if is_lost(p) and p.finding not in known)

    @property
    def accepted_breaks(self) -> tuple[Pair, ...]:
        """What is broken on both sides and accepted: it raises nothing and stays in the report."""
        return tuple(p for p in self.pairs if p.broken == "both" and p.finding in self.accepted)

    @property
    def compared(self) -> int:
        """How many metrics were compared."""
        out = {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE}
        return sum(p.verdict not in out for p in self.pairs)

    @property
    def spurious(self) -> tuple[SecondLook, ...]:
        """Differences that did not come back when they were measured again."""
        return tuple(look for look in self.looks if not look.came_back)

    @property
    def first_rung(self) -> str | None:
        """The first rung that moved."""
        return next((f.pair.rung for f in self.findings if f.is_own), None)

    @property
    def packages(self) -> tuple[tuple[str, str, str], ...]:
        """(package, OLD's version, NEW's version) of every package that differs."""
        a, b = self.versions
        return tuple(
            (name, a.get(name, ""), b.get(name, ""))
            for name in sorted({*a, *b})
            if a.get(name) != b.get(name)
        )

    @property
    def exit_code(self) -> int:
        """0 all SAME or IMPROVED; 1 a difference; 3 nothing compared or a measurement missing."""
        if self.red:
            return 1
        return 3 if self.lost or self.missing or not self.compared else 0

    @property
    def headline(self) -> str:
        """One sentence: what was compared on what, and what was found."""
        facts = self.facts
        where = (
            f"{' → '.join(self.names)} on {facts['device_key']}, model {facts['model']}, "
            f"data {facts['data']}"
        )
        if facts.get("recipe", PUBLISHED) != PUBLISHED:
            where += f", recipe {recipe_called(facts['recipe'])}"
        if not self.compared:
            return f"{where}: nothing was compared."
        parts = [f"{self.compared} values compared"]
        if self.own:
            noun = "finding" if len(self.own) == 1 else "findings"
            parts.append(f"{len(self.own)} {noun}, first at {self.first_rung}")
        if len(self.findings) > len(self.own):
            parts.append(f"{len(self.findings) - len(self.own)} follow from them")
        if self.own:
            known = len(self.own) - len(self.unknown)
            parts.append(f"{known} known, {len(self.unknown)} unknown")
        if self.spurious:
            parts.append(f"{len(self.spurious)} spurious, gone when measured again")
        breaks = len(self.accepted_breaks)
        if breaks:
            parts.append(f"{breaks} broken on both sides and accepted")
        lost = len(self.lost) + len(self.missing)
        if lost:
            parts.append(f"{lost} not compared")
        all_same = not (self.own or lost or breaks)
        return f"{where}: {', '.join(parts)}" + (", all the same." if all_same else ".")
