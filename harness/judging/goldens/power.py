"""What a verdict says of its own worth: the committed table of planted faults, or that it is none.

The table is quoted only for the stack, device, model and recipe that it was measured on; where the
goldens or the libraries have changed since, it is called stale. It may be one of some rungs, and
says then which it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import BadInput
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Golden, golden_to_json
from harness.judging.goldens.judgement import Facts
from harness.judging.goldens.scope import applies
from harness.records.files import json_digest
from harness.records.folders import GOLDEN
from harness.records.power import (
    QUANTITIES,
    PowerTable,
    Quantity,
    Seen,
    Worth,
    blind_on,
    power_path,
    read_power,
)
from harness.records.record import Record
from harness.records.trial import Trial

MAKE = "`harness power --write` measures it"


def goldens_digest(
    goldens: Iterable[Golden], expected: Iterable[Expected], facts: Facts, seen: Sequence[Seen]
) -> str:
    """Of what made these faults red; of one that nothing did, of all that its rung is judged by.

    A golden that has come since may only see smaller ones: what was reported still is.
    """
    named = {fault.finding for fault in seen if fault.finding}
    unseen = {fault.rung for fault in seen if not fault.finding}

    def is_of(name: str) -> bool:
        return name.split(".", 1)[0] in unseen or any(
            finding == name or finding.startswith(f"{name}.") for finding in named
        )

    against = [
        [golden_to_json(golden), {case: band.limit for case, band in golden.between.items()}]
        for golden in goldens
        if is_of(f"{golden.rung}.{golden.metric}")
        and (golden.kind == "observed" or applies(golden, facts))
    ]
    listed = [repr(wish) for wish in expected if is_of(wish.finding)]
    return json_digest([against, listed])


def stale_for(
    table: PowerTable, model_digest: str, versions: Mapping[str, str], goldens: str
) -> tuple[str, ...]:
    """What has changed since a table was measured; empty where it holds."""
    rungs = {seen.rung for seen in table.seen}
    changed = {
        "the planted faults": {seen.quantity for seen in table.seen}
        != {q.name for q in QUANTITIES if q.rung in rungs},
        "the goldens": table.goldens != goldens,
        "the libraries": dict(table.versions) != dict(versions),
        "the model": table.model_digest != model_digest,
    }
    return tuple(name for name, is_other in changed.items() if is_other)


def worth_of(
    records: Mapping[str, Record],
    goldens: Iterable[Golden],
    expected: Iterable[Expected],
    facts: Facts,
    root: Path = GOLDEN,
) -> Worth:
    """What a verdict on these records would have seen. goldens: the committed ones."""
    table = table_for(facts, root)
    if table is None:
        return Worth()
    # A record that stands for a process that died knows no versions.
    provenances = [record.provenance for record in records.values()]
    at = max(provenances, key=lambda provenance: len(provenance.versions))
    digest = goldens_digest(goldens, expected, facts, table.seen)
    return Worth(table, stale_for(table, at.model_digest, at.versions, digest))


def refuse_fewer(stack: str, quantities: Iterable[Quantity], root: Path = GOLDEN) -> None:
    """Raises BadInput where a kept table of the stack, on any device, tells of more than these."""
    asked = {quantity.name for quantity in quantities}
    for path in sorted((root / "power").glob(f"*/{stack}.json")):
        lost = [seen.quantity for seen in read_power(path).seen if seen.quantity not in asked]
        if lost:
            raise BadInput(
                f"{path} tells of {', '.join(lost)} too, which would be lost; leave --write or "
                "RUNG out."
            )


def table_for(facts: Facts, root: Path = GOLDEN) -> PowerTable | None:
    """The committed table of a stack on a kind of device; None where there is none, or of another
    model or recipe. Raises BadInput, Damaged as read_power."""
    if "/" in facts.stack or facts.stack.startswith("."):
        return None
    path = power_path(facts.device_key, facts.stack, root)
    if not path.is_file():
        return None
    table = read_power(path)
    return table if (table.model, table.recipe) == (facts.model, facts.recipe) else None


def _size(seen: Seen) -> str:
    quantity = next(q for q in QUANTITIES if q.name == seen.quantity)
    if seen.red_without and not seen.tries:
        return f"{quantity.words}: not run, {seen.rung} is red without a fault"
    if seen.reported is None:
        return f"{quantity.words}: NOT even {seen.unseen:.2g} {quantity.unit}"
    if not quantity.is_graded:
        return quantity.words
    return f"{quantity.words} by {seen.reported:.1e} {quantity.unit}"


def sentence(worth: Worth, device_key: str) -> str:
    """One line for people: what a verdict on that device would have seen, and what it cannot."""
    table = worth.table
    if table is None:
        return _nothing(device_key)
    told = "; ".join([*map(_size, table.seen), *_without(table)])
    seen = f"Would have been seen (planted, {table.created[:10]}): {told}."
    return f"{_old(worth)}{seen} {_cannot(device_key)}"


def brief(worth: Worth, device_key: str) -> str:
    """The same for whoever finds the sizes beside it: how many, and which were not seen at all."""
    table = worth.table
    if table is None:
        return _nothing(device_key)
    unseen = [_size(seen) for seen in table.seen if seen.reported is None]
    reported = len(table.seen) - len(unseen)
    told = (
        f"{reported} of {len(table.seen)} faults planted on {table.created[:10]} would have been "
        "seen"
    )
    parts = "; ".join([told, *unseen, *_without(table)])
    return f"{_old(worth)}{parts}. {_cannot(device_key)}"


def unseen(trial: Trial | None) -> str:
    """In a line, what came of faults that were chosen for frozen code; empty where none were."""
    own, seen, tried = trial.share(releases=False) if trial else (0, 0, 0)
    if trial is None or not tried:
        return ""
    line = (
        f"Of {tried} faults planted for code that had not seen them (in the stand-in, on "
        f"{', '.join(trial.stacks())}) {seen} were found, {own} at their own rung"
    )
    own, seen, tried = trial.share(releases=True)
    changed = f"; of {tried} changes of the libraries {seen}, {own} at their own" if tried else ""
    return f"{line}{changed} (golden/power/TRIAL.md)."


def sizes(worth: Worth) -> Mapping[str, Sequence[str]]:
    """By rung, the smallest of each planted fault that would have been seen."""
    by_rung: dict[str, list[str]] = {}
    for seen in worth.table.seen if worth.table else ():
        by_rung.setdefault(seen.rung, []).append(_size(seen))
    return by_rung


def _nothing(device_key: str) -> str:
    here = f"What this verdict would have seen was not measured here ({MAKE})."
    return f"{here} {_cannot(device_key)}"


def _cannot(device_key: str) -> str:
    return f"It cannot see here: {', '.join(blind_on(device_key))}."


def _old(worth: Worth) -> str:
    return f"STALE, {' and '.join(worth.stale)} changed since; {MAKE}. " if worth.stale else ""


def _without(table: PowerTable) -> list[str]:
    rungs = {seen.rung for seen in table.seen}
    lacks = dict.fromkeys(q.rung for q in QUANTITIES if q.rung not in rungs)
    red = dict.fromkeys(seen.rung for seen in table.seen if seen.red_without and seen.tries)
    told = [f"nothing was planted at {', '.join(lacks)}"] if lacks else []
    if red:
        told.append(f"counted was what is red beside what is without a fault at {', '.join(red)}")
    return told
