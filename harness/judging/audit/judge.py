"""Check → verdict: a pure function of an audit and the advice that is filed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.judging.audit.advice import Advice, Severity, advice_for
from harness.judging.audit.lines import Line, line_of
from harness.records.audit import Audit, Check, Relation
from harness.records.record import Status
from harness.records.typed import Json


class Standing(StrEnum):
    """How a check stands."""

    FINE = "fine"
    WRONG = "wrong"
    QUESTION = "question"
    BROKEN = "broken"
    NOT_JUDGED = "not judged"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Judged:
    """A check and what it means. line: the user's line that decides it, None where none is known.
    under: the finding that explains this one, '' where it stands for itself."""

    check: Check
    standing: Standing
    advice: Advice
    line: Line | None = None
    under: str = ""


@dataclass(frozen=True)
class AuditJudgement:
    """Every check of an audit, judged. missing: rungs without a result, and why."""

    items: tuple[Judged, ...]
    missing: Mapping[str, str]

    def of(self, *standings: Standing) -> tuple[Judged, ...]:
        """Items of these standings, in ladder order."""
        return tuple(item for item in self.items if item.standing in standings)

    @property
    def findings(self) -> tuple[Judged, ...]:
        """What is wrong, each for itself: what another one explains is left out."""
        return tuple(i for i in self.of(Standing.WRONG, Standing.BROKEN) if not i.under)

    @property
    def questions(self) -> tuple[Judged, ...]:
        """What only the user can say."""
        return self.of(Standing.QUESTION)

    @property
    def exit_code(self) -> int:
        """1 for any finding; 3 where a rung has no result or nothing was judged; else 0."""
        if self.of(Standing.WRONG, Standing.BROKEN):
            return 1
        return 3 if self.missing or not self.of(Standing.FINE) else 0


def judge(audit: Audit) -> AuditJudgement:
    """The audit judged."""
    items = [_judged(check, audit) for check in audit.checks]
    return AuditJudgement(_folded(items), audit.missing)


def _judged(check: Check, audit: Audit) -> Judged:
    advice = advice_for(check)
    stands = standing(check, advice)
    red = stands in {Standing.WRONG, Standing.QUESTION}
    line = line_of(audit.source, check.setting) if red and check.setting else None
    return Judged(check, stands, advice, line)


def standing(check: Check, advice: Advice) -> Standing:
    """How a check stands, by its value and what is filed of it."""
    if check.status is Status.BROKEN:
        return Standing.BROKEN
    if check.status is Status.NOT_RUN:
        return Standing.NOT_JUDGED
    if check.relation is Relation.RECORDED:
        return Standing.RECORDED
    if holds(check.value, check.truth, check.relation, check.tolerance):
        return Standing.FINE
    return Standing.QUESTION if advice.severity is Severity.QUESTION else Standing.WRONG


def holds(value: Json, truth: Json, relation: Relation, tolerance: float) -> bool:
    """Whether a value stands to its truth as it must.

    Numbers within the tolerance, lists one by one, of mappings the values of equal names;
    anything else must be equal. What is no number never is at most or at least another.
    """
    if isinstance(value, list) and isinstance(truth, list):
        pairs = zip(value, truth, strict=False)
        return len(value) == len(truth) and all(holds(v, t, relation, tolerance) for v, t in pairs)
    if isinstance(value, Mapping) and isinstance(truth, Mapping):
        return set(value) == set(truth) and all(
            holds(value[name], truth[name], relation, tolerance) for name in value
        )
    if not _is_number(value) or not _is_number(truth):
        return relation is Relation.EQUAL and value == truth
    return _number_holds(float(value), float(truth), relation, tolerance)  # type: ignore[arg-type]


def _number_holds(value: float, truth: float, relation: Relation, tolerance: float) -> bool:
    if not math.isfinite(value) or not math.isfinite(truth):
        return False
    if relation is Relation.AT_MOST:
        return value <= truth + tolerance
    if relation is Relation.AT_LEAST:
        return value >= truth - tolerance
    return abs(value - truth) <= tolerance


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _folded(items: Sequence[Judged]) -> tuple[Judged, ...]:
    """What a finding explains stands under it, by what its advice says that it explains."""
    red = {Standing.WRONG, Standing.BROKEN}
    causes: dict[str, str] = {}
    for item in items:
        if item.standing is Standing.WRONG:
            for name in item.advice.explains:
                causes.setdefault(name, item.check.finding_id)
    folded = []
    for item in items:
        cause = causes.get(item.check.metric_id) or causes.get(item.check.finding_id)
        if item.standing in red and cause and cause != item.check.finding_id:
            item = Judged(item.check, item.standing, item.advice, item.line, cause)
        folded.append(item)
    return tuple(folded)
