"""The front page of a comparison: may I upgrade, what changes for me, what should I do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.judging.compare.causes import MISMATCH
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.lost import why_lost
from harness.judging.report.upgrade.view import WARNINGS, Group, told_severity


@dataclass(frozen=True)
class Answer:
    """The front page. tone: good, known, bad or missing."""

    tone: str
    title: str
    why: str
    changes: tuple[str, ...]
    todo: tuple[str, ...]


def answer(comparison: Comparison, groups: Sequence[Group]) -> Answer:
    """May I upgrade, what changes for me, what should I do."""
    if not comparison.compared or not comparison.findings:
        return _without_findings(comparison)
    # A warning says itself what it is about; it moves no number.
    unread = [g for g in groups if not g.changes and g.head.pair.metric_id == WARNINGS]
    dead = [g for g in groups if g.ended]
    unknown = [g for g in groups if not g.changes and g not in unread and g not in dead]
    changes = tuple(_told(g) for g in _ranked(groups))
    todo = tuple(dict.fromkeys(a for g in _ranked(groups) if _matters(g) for a in g.advice))
    for group in groups:
        if group.head.pair.finding == MISMATCH and not group.is_fix:
            why = " ".join(change.effect for change in group.changes)
            return Answer("bad", "No: these releases do not work together", why, changes, todo)
    if unknown:
        # One heading may stand for many values: what is computed moves together.
        count = sum(len(group.findings) for group in unknown)
        noun = "value differs" if count == 1 else "values differ"
        first = unknown[0].head.pair.finding
        return Answer(
            "bad",
            "Not yet: something unknown changed",
            f"{count} {noun} without a known explanation; look at {first} first.",
            changes,
            todo,
        )
    if dead:
        failure = dead[0].failure
        how = failure.message if failure else "it left no record"
        return Answer(
            "bad",
            "Not yet: not everything was measured",
            f"{dead[0].title}: {how}.",
            changes,
            todo,
        )
    tone, title, why = _of_known(groups)
    every = "Every difference but some warnings" if unread else "Every difference"
    return Answer(tone, title, f"{every} is a known change: {why}.", changes, todo)


def _without_findings(comparison: Comparison) -> Answer:
    if not comparison.compared:
        reason = "; ".join(dict.fromkeys(filter(None, map(why_lost, comparison.pairs))))
        missing = "; ".join(f"{m.rung}: {m.reason}" for m in comparison.missing)
        return Answer("missing", "Nothing was compared", reason or missing, (), ())
    lost = len(comparison.lost) + len(comparison.missing)
    if lost:
        return Answer(
            "missing",
            "No difference, but not everything was compared",
            f"Measurements missing: {lost}.",
            (),
            (),
        )
    return Answer(
        "good",
        "Yes: nothing changes",
        f"{comparison.compared} values are the same.",
        (),
        ("Nothing.",),
    )


def _of_known(groups: Sequence[Group]) -> tuple[str, str, str]:
    """(tone, title, why) where every difference is a known change."""
    breaks = [g for g in groups if g.breaks]
    fixes = [g for g in groups if g.is_fix]
    lasting = [g for g in groups if not g.is_fix and not g.breaks]
    worse = [g for g in lasting if g.severity in {"wrong training", "cost"}]
    parts = []
    if breaks:
        parts.append(_count(breaks, "call", "calls") + " of the recipe must be rewritten")
    if fixes:
        # What older adapters were trained with is a reason to move: it is said by name.
        wrong = [g.title for g in fixes if g.severity == "wrong training"]
        parts.append(
            _count(fixes, "fault of OLD is fixed", "faults of OLD are fixed")
            + (f", {len(wrong)} of them wrong training ({', '.join(wrong)})" if wrong else "")
        )
    silent = sum(g.is_silent for g in worse)
    if worse:
        parts.append(
            _count(
                worse, "costs something or trains otherwise", "cost something or train otherwise"
            )
            + (f", {silent} of them wrong and in silence" if silent else "")
        )
    title = "Yes, after changing your code" if breaks else "Yes"
    if worse and not breaks:
        title = "Yes, but not for free"
    if silent:
        title = "Not as it is: something goes wrong in silence"
    why = "; ".join(parts) or "the differences are cosmetic"
    return "bad" if silent else "known", title, why


def _count(groups: Sequence[Group], one: str, many: str) -> str:
    return f"{len(groups)} {one if len(groups) == 1 else many}"


def _matters(group: Group) -> bool:
    return group.severity != "cosmetic" and not all(a == "Nothing to do." for a in group.advice)


def _ranked(groups: Iterable[Group]) -> list[Group]:
    """What nobody would notice first, then what must be rewritten, then what gets worse, and
    last what a fix means for older results."""
    order = ("unknown", "wrong training", "crash", "cost", "cosmetic")

    def rank(group: Group) -> tuple[bool, bool, bool, int]:
        silent = group.severity in {"unknown", "wrong training"} and not group.breaks
        fixed = group.is_fix and group.severity != "unknown"
        return (fixed, not silent, not group.breaks, order.index(group.severity))

    return sorted(groups, key=rank)


def _told(group: Group) -> str:
    if not group.changes:
        return group.title
    return f"{group.title} ({told_severity(group)})"
