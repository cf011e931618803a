"""What an audit says first, for every place that says it: three sentences and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.judging.audit.advice import worded
from harness.judging.audit.judge import AuditJudgement, Judged, Standing
from harness.judging.audit.lines import Line
from harness.records.audit import Audit, Check

# How a token's role is called where nothing beside explains it.
_OF_ROLE = {
    "assistant": "of the assistant's turns",
    "user": "of the user's turns",
    "system": "of the system's turns",
    "control": "headers and ends of turns",
}


def headline(judgement: AuditJudgement) -> str:
    """The verdict in a few words."""
    count = len(judgement.findings)
    if count:
        return f"{count} thing{'s' if count != 1 else ''} to change"
    if judgement.exit_code == 3:
        return "Incomplete: part of the audit is missing"
    asked = len(judgement.questions)
    if asked:
        return f"Nothing wrong, {asked} question{'s' if asked != 1 else ''} to you"
    return "Nothing wrong with what was judged"


def three_sentences(audit: Audit, judgement: AuditJudgement) -> tuple[str, str, str]:
    """What the training learns from; what is wrong; what to change."""
    return learns(audit), wrong(judgement), change(judgement)


def learns(audit: Audit) -> str:
    """What the loss looks at, by role."""
    share = _value(audit, "labels", "trained_share")
    roles = _value(audit, "labels", "trained_by_role")
    if not isinstance(share, int | float):
        return "What your training learns from was not measured."
    sentence = f"Your training learns from {100 * float(share):.3g} % of its tokens"
    if isinstance(roles, Mapping) and any(roles.values()):
        total = sum(int(n) for n in roles.values())
        named = [
            f"{100 * int(n) / total:.3g} % {_OF_ROLE.get(role, role)}"
            for role, n in sorted(roles.items(), key=lambda x: -int(x[1]))
            if n
        ]
        sentence += f": of these, {', '.join(named)}"
    return f"{sentence}."


def wrong(judgement: AuditJudgement) -> str:
    """The first finding, and how many more there are."""
    if not judgement.findings:
        fine = len(judgement.of(Standing.FINE))
        if judgement.missing:
            return f"{fine} checks hold; not judged: {', '.join(judgement.missing)}."
        asked = judgement.questions
        if not asked:
            return f"Nothing is wrong: {fine} checks hold."
        rest = f" ({len(asked) - 1} more questions below)" if len(asked) > 1 else ""
        return f"Nothing is wrong: {fine} checks hold. {title_of(asked[0])}{rest}"
    first, more = judgement.findings[0], len(judgement.findings) - 1
    rest = f"; {more} more below" if more else ""
    return f"{title_of(first)} (at {first.check.rung}){rest}."


def change(judgement: AuditJudgement) -> str:
    """What the first finding, else the first question, asks for."""
    named = [*judgement.findings, *judgement.questions]
    if not named:
        return "There is nothing to change."
    place = f" (line {named[0].line.number})" if named[0].line else ""
    wanted = f"{worded(named[0].advice.change, named[0].check)}{place}"
    return wanted if judgement.findings else f"Nothing, where you mean it; else: {wanted}"


def title_of(item: Judged) -> str:
    """A finding's headline, without its full stop."""
    return worded(item.advice.title, item.check).rstrip(".")


def _value(audit: Audit, rung: str, name: str) -> Any:
    checks: list[Check] = [c for c in audit.checks if c.rung == rung and c.name == name]
    return checks[0].value if checks else None


@dataclass(frozen=True)
class AuditItem:
    """A check with its standing and words. line: the user's, None where none is known. under: the
    finding that explains it, '' where it stands for itself."""

    finding: str
    standing: Standing
    title: str
    effect: str
    change: str
    line: Line | None
    under: str


@dataclass(frozen=True)
class AuditVerdict:
    """What an audit found. missing: rungs without a result, and why."""

    headline: str
    exit_code: int
    missing: Mapping[str, str]
    items: tuple[AuditItem, ...]


def verdict_of(judgement: AuditJudgement) -> AuditVerdict:
    """The judgement as a document has it."""
    return AuditVerdict(
        headline(judgement),
        judgement.exit_code,
        dict(judgement.missing),
        tuple(map(_item, judgement.items)),
    )


def _item(item: Judged) -> AuditItem:
    return AuditItem(
        finding=item.check.finding_id,
        standing=item.standing,
        title=title_of(item),
        effect=worded(item.advice.effect, item.check),
        change=worded(item.advice.change, item.check),
        line=item.line,
        under=item.under,
    )
