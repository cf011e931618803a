"""What judging yields: facts about the run, one verdict per finding, all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import BadInput, Lack
from harness.judging.goldens.conditions import Condition
from harness.judging.goldens.golden import Band
from harness.records.failure import Failure
from harness.records.power import Worth
from harness.records.recipes import PUBLISHED, recipe_called, recipe_words
from harness.records.record import RUNGS, Record, Verdict
from harness.records.trial import Trial
from harness.records.typed import Json

RED = frozenset({Verdict.CHANGED, Verdict.WORSE, Verdict.BROKEN})
MISSING = frozenset({Verdict.NOT_RUN, Verdict.NOT_COMPARABLE})
LEFT_OUT = "the probe left no such metric"


@dataclass(frozen=True)
class Facts:
    """What decides which goldens and expectations apply to a set of records. recipe: its digest.
    data_digest: of the content of data of the user's own."""

    stack: str
    model: str
    data: str
    device_key: str
    vocabulary: str
    family: str
    recipe: str = PUBLISHED
    data_digest: str = ""

    @property
    def recipe_name(self) -> str:
        """The variant's name; the digest of a recipe that is none."""
        return recipe_called(self.recipe)

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self.device_key.split("-", 1)[0]

    @property
    def stack_name(self) -> str:
        """The stack's name without its variations."""
        return self.stack.split(",", 1)[0]


# What the records of one run share. Not the commit: a run may be resumed after an edit.
OF_ONE_RUN = (
    "stack",
    "model",
    "data",
    "data_digest",
    "device_key",
    "recipe",
    "seed",
    "model_digest",
    "vocabulary",
    "family",
    "versions",
    "faults",
)
# What of it only the measuring process finds out.
FOUND_OUT = frozenset({"device_key", "versions"})


def facts_of(records: Mapping[str, Record]) -> Facts:
    """The facts that all records share. Raises BadInput naming what they disagree about.

    The record of a rung whose process died knows neither device nor versions.
    """
    first = next((r for r in records.values() if r.provenance.device_key), None)
    first = first or next(iter(records.values()))
    p = first.provenance
    for other in records.values():
        for name in OF_ONE_RUN:
            one, two = getattr(p, name), getattr(other.provenance, name)
            unknown = name in FOUND_OUT and not other.provenance.device_key
            if one != two and not unknown:
                raise BadInput(
                    f"The records come from different runs: {name} is {_differing(one, two)} in "
                    f"{first.rung}.json and {_differing(two, one)} in {other.rung}.json; measure "
                    "them anew, into one folder."
                )
    where = (p.stack, p.model, p.data, p.device_key, p.vocabulary, p.family)
    return Facts(*where, p.recipe, p.data_digest)


def _differing(mine: object, theirs: object) -> str:
    """A value as it is said; of a long mapping only what the other one has not."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        mine = {k: v for k, v in mine.items() if theirs.get(k) != v}
    return repr(mine)


@dataclass(frozen=True)
class Judged:
    """One judged value.

    kind: `truth`, `observed` (both against a golden), `status` (no golden, but BROKEN or
    NOT_RUN), or `expected` (an expected finding that did not occur). known: listed in the
    stack's expected findings. accepted: listed by the user. required: its absence is exit 3.
    failure: of what is BROKEN. lack, blocked_by: of what was not run. conditions: what a golden was
    observed with and this run was not measured with, of what is NOT_COMPARABLE. first_look: of a
    spurious finding the value that did not come back when it was measured again, None of others.
    """

    finding: str
    rung: str
    verdict: Verdict
    kind: str
    golden: Json
    now: Json
    band: Band
    how: str
    reason: str
    required: bool = True
    known: bool = False
    accepted: bool = False
    evidence: str = ""
    unit: str = "1"
    failure: Failure | None = None
    lack: Lack | None = None
    blocked_by: str = ""
    conditions: tuple[Condition, ...] = ()
    first_look: Json = None

    @property
    def is_red(self) -> bool:
        """Whether it turns the run red."""
        return self.verdict in RED and not (self.known or self.accepted)

    @property
    def is_unobserved(self) -> bool:
        """Whether only another device has an observed number for it."""
        return self.kind == "observed" and self.verdict is Verdict.NOT_RUN and self.golden is None


@dataclass(frozen=True)
class Judgement:
    """All judged values of one run, in ladder order.

    stale_accepts: accepted ids of judged rungs that are no finding any more. unmeasured: rungs
    that an interrupted run was to measure and has no record of. worth: what it would have seen, by
    planted faults; None where that was not looked up. trial: what came of faults that nobody who
    wrote the code had seen.
    """

    facts: Facts
    items: tuple[Judged, ...]
    rungs: tuple[str, ...]
    stale_accepts: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    worth: Worth | None = None
    trial: Trial | None = None

    @property
    def red(self) -> tuple[Judged, ...]:
        """Unexpected findings: these turn the run red."""
        return tuple(item for item in self.items if item.is_red)

    @property
    def known(self) -> tuple[Judged, ...]:
        """Known findings: expected, still not green."""
        return tuple(
            item
            for item in self.items
            if (item.known or item.accepted) and item.verdict is not Verdict.SAME
        )

    @property
    def spurious(self) -> tuple[Judged, ...]:
        """Findings that did not come back when they were measured again, alone."""
        return tuple(item for item in self.items if item.first_look is not None)

    @property
    def missing(self) -> tuple[Judged, ...]:
        """What was not run or not comparable and is not known to be so."""
        return tuple(i for i in self.items if i.verdict in MISSING and not (i.known or i.accepted))

    @property
    def calibration(self) -> str:
        """The command that makes every number which only another device has; '' for none."""
        lacking = (i.finding.split(".") for i in self.items if i.is_unobserved)
        metrics = sorted({".".join(parts[:2]) for parts in lacking})
        words = ["harness", "golden", "calibrate", *metrics, "--stack", self.facts.stack]
        return " ".join([*words, *recipe_words(self.facts.recipe)]) if metrics else ""

    @property
    def compared(self) -> int:
        """How many values were really compared."""
        return sum(
            item.kind in {"truth", "observed"} and item.verdict not in MISSING
            for item in self.items
        )

    @property
    def first_red_rung(self) -> str | None:
        """Where to look first."""
        return next((rung for rung in self.rungs for i in self.red if i.rung == rung), None)

    @property
    def exit_code(self) -> int:
        """0 green or known, 1 red, 3 a required measurement is missing; 1 beats 3."""
        if self.red:
            return 1
        if not self.compared or self.unmeasured or any(item.required for item in self.missing):
            return 3
        return 0

    @property
    def headline(self) -> str:
        """One sentence: model and data source, stack, and the verdict."""
        f = self.facts
        where = f"{f.stack} on {f.device_key}, model {f.model}, data {f.data}"
        if f.recipe != PUBLISHED:
            where += f", recipe {f.recipe_name}"
        parts = []
        if self.red:
            what = "unexpected finding" if len(self.red) == 1 else "unexpected findings"
            parts.append(f"{len(self.red)} {what}, first at {self.first_red_rung}")
        if not self.compared:
            parts.append("nothing was compared")
        if self.known:
            parts.append(f"{len(self.known)} known findings")
        if self.spurious:
            parts.append(f"{len(self.spurious)} spurious, gone when measured again")
        if self.missing:
            parts.append(f"{len(self.missing)} not run")
        good = sum(i.verdict in {Verdict.SAME, Verdict.IMPROVED} for i in self.items)
        if self.unmeasured:
            parts.append(f"interrupted, no record of {', '.join(self.unmeasured)}")
        elif len(self.rungs) < len(RUNGS):
            # Part of a ladder is never all green.
            parts.append(f"{', '.join(self.rungs)} only")
        if not parts:
            return f"{where}: all green, {good} values judged."
        return f"{where}: {', '.join(parts)}; {good} values as they should be."
