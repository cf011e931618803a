"""Judging: a pure function of records, goldens and expected findings.

Nothing is measured here and nothing is read from disk. A judged value is one finding id with a
verdict; a judgement is all of them, what was expected and did not occur, and the exit code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.errors import Lack
from harness.judging.goldens.conditions import Condition
from harness.judging.goldens.elsewhere import across_kinds, never_observed
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.judgement import LEFT_OUT, MISSING, Facts, Judged, Judgement, facts_of
from harness.judging.goldens.own import no_truth
from harness.judging.goldens.scope import holding, holds
from harness.judging.goldens.values import inside
from harness.records.record import RUNGS, Direction, Metric, Record, Status, Verdict
from harness.records.typed import Json, numbers_of

# On these rungs every call is part of the recipe, so one that did not run is a required one.
EXECUTED_RUNGS = frozenset({"environment", "interface"})


def verdict_of(band: Band, golden: Json, now: Json, direction: Direction) -> Verdict:
    """SAME inside the band; outside IMPROVED or WORSE where the metric has a direction."""
    if inside(band, golden, now):
        return Verdict.SAME
    old, new = numbers_of(golden), numbers_of(now)
    if direction is Direction.NONE or old is None or new is None or len(old) != len(new):
        return Verdict.CHANGED
    if band.kind in {BandKind.AT_MOST, BandKind.AT_LEAST}:
        return Verdict.WORSE
    if sum(new) == sum(old):
        # What moved inside a list is neither more nor less.
        return Verdict.CHANGED
    better = sum(new) > sum(old)
    return Verdict.IMPROVED if better == (direction is Direction.HIGHER) else Verdict.WORSE


def _against(golden: Golden, case: str, metric: Metric | None) -> Judged:
    finding = f"{golden.rung}.{golden.metric}" + (f".{case}" if case else "")
    base = Judged(
        finding,
        golden.rung,
        Verdict.NOT_RUN,
        golden.kind,
        golden.cases[case],
        None,
        golden.band,
        "not run",
        LEFT_OUT,
        required=golden.required,
        lack=Lack.METRIC,
    )
    if metric is None:
        return base
    if metric.status is Status.NOT_RUN:
        return replace(
            base,
            reason=metric.reason or "no reason given",
            lack=metric.lack,
            blocked_by=metric.blocked_by,
        )
    if metric.status is Status.BROKEN:
        return replace(
            base,
            verdict=Verdict.BROKEN,
            reason=metric.error or "unknown error",
            how=metric.how,
            failure=metric.failure,
            lack=None,
        )
    verdict = verdict_of(golden.band, golden.cases[case], metric.value, metric.direction)
    if verdict is Verdict.IMPROVED and golden.kind == "truth":
        # Fewer bytes than arithmetic allows are no improvement: something is missing.
        verdict = Verdict.CHANGED
    return replace(
        base,
        verdict=verdict,
        now=metric.value,
        how=metric.how.value,
        reason=golden.reason,
        evidence=metric.note or "",
        unit=metric.unit,
        lack=None,
    )


def _status(metric: Metric) -> Judged:
    broken = metric.status is Status.BROKEN
    return Judged(
        metric.finding_id,
        metric.rung,
        Verdict.BROKEN if broken else Verdict.NOT_RUN,
        "status",
        None,
        None,
        Band(),
        "not run" if not broken else metric.how.value,
        (metric.error or "unknown error") if broken else metric.reason or "no reason given",
        required=metric.rung in EXECUTED_RUNGS,
        failure=metric.failure,
        lack=metric.lack,
        blocked_by=metric.blocked_by,
    )


# By finding, and by the name of a known fault, the value that the fault gives.
Otherwise = Mapping[str, Mapping[str, Json]]


def _otherwise(goldens: Iterable[Golden]) -> Otherwise:
    values: dict[str, dict[str, Json]] = {}
    for golden in goldens:
        if golden.otherwise is None:
            continue
        for case in golden.cases:
            finding = f"{golden.rung}.{golden.metric}" + (f".{case}" if case else "")
            faults = golden.otherwise.items()
            values[finding] = {fault: cases[case] for fault, cases in faults if case in cases}
    return values


def _expect(
    items: Sequence[Judged], expected: Iterable[Expected], otherwise: Otherwise
) -> list[Judged]:
    """Mark the known findings, and add one item per expected finding that did not occur.

    What was not measured did not fail to occur: it is missing, and said so by itself.
    """
    by_id = {item.finding: item for item in items}
    for wish in expected:
        item = by_id.get(wish.finding)
        if item is None and wish.optional and wish.otherwise and wish.finding not in otherwise:
            # No oracle says what is right of this model, nor what the fault makes of it.
            continue
        matches = (
            item is not None and item.verdict.value == wish.verdict and _is_that_error(wish, item)
        )
        wanted = otherwise.get(wish.finding, {}).get(wish.otherwise, wish.value)
        # Older records have no oracle's word of a fault.
        is_told = not wish.otherwise or wish.finding in otherwise
        sized = matches and item is not None and (not is_told or _as_large(wish, wanted, item.now))
        if sized and item is not None:
            by_id[wish.finding] = replace(item, known=True, evidence=item.evidence or wish.reason)
            continue
        if item is None and wish.optional and "own-data" in wish.when.split("+"):
            continue
        if item is not None and (
            (wish.optional and item.verdict is Verdict.SAME)
            or (item.verdict in MISSING and Verdict(wish.verdict) not in MISSING)
        ):
            continue
        shown = "it was not measured" if item is None else f"it is {item.verdict.value}"
        if item is not None and item.verdict.value == wish.verdict:
            error = wish.type or wish.blocked_by or " or ".join(wish.lacks) or wish.says
            shown = f"not {error} but {item.reason}"
        if matches and item is not None:
            # The difference itself stays red: it is not the one that the list knows.
            shown = f"its value is {str(item.now)[:80]} where the list says {str(wanted)[:80]}"
        ghost = f"{wish.finding}#expected"
        by_id[ghost] = Judged(
            wish.finding,
            wish.finding.split(".", 1)[0],
            Verdict.CHANGED,
            "expected",
            wish.verdict,
            item.verdict.value if item else None,
            Band(),
            "measured",
            f"The stack's list expects {wish.verdict} here ({wish.reason}), but {shown}; "
            "if that is right, update golden/expected.",
        )
    return list(by_id.values())


def _is_that_error(wish: Expected, item: Judged) -> bool:
    """Whether a known finding is still the error, or the want, that was listed."""
    if wish.type is not None and (item.failure is None or item.failure.type != wish.type):
        return False
    if wish.lacks and (item.lack not in wish.lacks or item.blocked_by != wish.blocked_by):
        return False
    # A list quotes the library's own words: these are what a release may change.
    return bool(re.search(wish.says, item.reason))


def _as_large(wish: Expected, wanted: Json, now: Json) -> bool:
    """Whether a known finding is still the one that was listed, where its size is listed."""
    if wish.band is None and not wish.otherwise:
        return True
    try:
        return inside(wish.band or Band(), wanted, now)
    except TypeError:
        return False


def _conditions(golden: Golden, record: Record) -> tuple[Condition, ...]:
    """What differs between an observed number's conditions and this record's."""
    mine = record.provenance
    here = {"samples": mine.samples, "model_digest": mine.model_digest}
    observed = {name: golden.provenance.get(name, value) for name, value in here.items()}
    return tuple(
        Condition(name, observed[name], value)
        for name, value in here.items()
        if observed[name] != value
    )


def _not_comparable(judged: Judged, conditions: tuple[Condition, ...]) -> Judged:
    """A value that an observed number says nothing about: it is of other conditions."""
    names = " and ".join(condition.name for condition in conditions)
    reason = f"observed with another {names}"
    return replace(judged, verdict=Verdict.NOT_COMPARABLE, reason=reason, conditions=conditions)


def judge(
    records: Mapping[str, Record],
    goldens: Iterable[Golden],
    expected: Iterable[Expected],
    facts: Facts | None = None,
    accepted: frozenset[str] = frozenset(),
) -> Judgement:
    """Judge the records present; rungs without a record are left out.

    Raises BadInput where the records come from different runs.
    """
    facts = facts or facts_of(records)
    items: dict[str, Judged] = {}
    asked = [golden for golden in goldens if golden.rung in records]
    for missing in never_observed(asked, facts):
        items.setdefault(missing.finding, missing)
    here = tuple(holding((*asked, *across_kinds(asked, facts)), facts))
    for golden in here:
        if golden.kind == "none":
            items.setdefault(f"{golden.rung}.{golden.metric}", no_truth(golden))
            continue
        observed = golden.kind == "observed"
        conditions = _conditions(golden, records[golden.rung]) if observed else ()
        by_case = {m.case or "": m for m in records[golden.rung].metrics if m.name == golden.metric}
        # Not run as a whole, for example without weights: so is every case of it.
        whole = by_case.get("")
        unrun = whole if whole is not None and whole.status is Status.NOT_RUN else None
        for case in golden.cases:
            judged = _against(golden, case, by_case.get(case, unrun))
            if conditions:
                judged = _not_comparable(judged, conditions)
            earlier = items.get(judged.finding)
            # A truth outranks an observed number, and any number one that another device has.
            if earlier is None or golden.kind == "truth" or earlier.golden is None:
                items[judged.finding] = judged
    for record in records.values():
        for metric in record.metrics:
            if metric.status is not Status.OK and metric.finding_id not in items:
                items[metric.finding_id] = _status(metric)
    wishes = [w for w in expected if w.finding.split(".", 1)[0] in records and holds(w.when, facts)]
    marked = _expect(tuple(items.values()), wishes, _otherwise(here))
    marked = [replace(item, accepted=item.finding in accepted) for item in marked]
    rungs = tuple(records)
    order = {rung: i for i, rung in enumerate(rungs)}
    marked.sort(key=lambda item: (order[item.rung], item.finding))
    differing = {i.finding for i in marked if i.verdict not in {Verdict.SAME, Verdict.IMPROVED}}
    # Of a rung that has no record nothing is known.
    unmeasured = set(RUNGS) - set(rungs)
    stale = {name for name in accepted - differing if name.split(".", 1)[0] not in unmeasured}
    return Judgement(facts, tuple(marked), rungs, tuple(sorted(stale)))
