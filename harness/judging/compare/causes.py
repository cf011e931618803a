"""What each difference follows from or is known by: pairs, experiments and register, put together.

Pure. A difference that vanishes when NEW is given OLD's value of an earlier rung follows from that
value; what is left is explained by the register of known changes, or is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from harness.judging.compare.comparison import Comparison, Experiment, Finding, MissingRung, rung_of
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import atoms
from harness.judging.compare.register import Change, at_work, explanation
from harness.judging.compare.second import settle
from harness.records.context import TRAINING_FAMILY
from harness.records.failure import Failure
from harness.records.record import PROBE, RUNGS, Record, Verdict

MISMATCH = "environment.mismatched_pairs"

MEASURED = frozenset({Verdict.CHANGED, Verdict.IMPROVED, Verdict.WORSE})

# The metric that stands for the value which a rung hands over.
HANDED_METRIC = {
    "text": "rendered",
    "ids": "batch_ids",
    "images": "levels",
    "labels": "recipe",
    "inputs": "positions",
    "attention": "keyless_rows",
    "update": "accumulation_gap",
    "trajectory": "loss",
}


def mismatch(pair: Pair) -> tuple[Change, ...]:
    """What releases that do not fit each other say of themselves: it needs no register."""
    if pair.finding != MISMATCH or pair.broken:
        return ()
    return (
        Change(
            name="mismatched-pairs",
            title="Releases that do not work together",
            library="",
            before="",
            first="",
            reference="",
            severity="crash",
            effect=" ".join(line for _, line in atoms(pair)),
            advice="Vary the other one of each pair too, e.g. `reference,A==…,B==…`.",
            evidence="The packages' own metadata.",
            when=(),
        ),
    )


def _at_mismatch(pair: Pair, others: Sequence[Pair]) -> bool:
    """Whether an import or a whole probe broke in, or on, a package that does not fit what is
    installed on that side alone. That nothing fits is no sign, the library's own words are."""
    if pair.broken not in {"old", "new"}:
        return False
    failure = pair.failure
    if failure is None or (pair.rung != "environment" and pair.metric != PROBE):
        return False
    side = "removed" if pair.broken == "old" else "added"
    new = {line for p in others if p.finding == MISMATCH for s, line in atoms(p) if s == side}
    moved = [mismatch for mismatch in failure.mismatches if mismatch.sentence in new]
    return any(_names(failure, package) for m in moved for package in (m.package, m.other))


def _names(failure: Failure, package: str) -> bool:
    """Whether a library's own words, or the place that it broke at, name a package."""
    word = re.compile(rf"\b{re.escape(package)}\b")
    return bool(word.search(failure.message) or word.search(failure.where))


def _same_error(pair: Pair, earlier: Sequence[Pair]) -> str:
    """The earlier finding that broke with the same error on the same side: of the same rung, or
    where a whole probe broke, of any."""
    for other in earlier:
        near = other.rung == pair.rung or pair.metric == PROBE
        if near and other.broken == pair.broken and pair.broken:
            here, there = _own_error(pair), _own_error(other)
            if here is not None and here == there:
                return other.finding
    return ""


def _own_error(pair: Pair) -> tuple[object, ...] | None:
    """What the broken side's error is told by: not its place, unless that is all that it says."""
    failure = pair.failure
    if failure is None:
        return None
    # A whole probe's error begins with what does not fit; a single value's does not.
    around = failure.mismatches if pair.metric == PROBE else ()
    return failure.type, around, failure.message or ("", failure.where)


def _follows(
    pair: Pair, experiments: Sequence[Experiment], first: Mapping[str, str]
) -> tuple[str, str, Pair | None, tuple[str, ...]]:
    """(cause, proof, the rest, given): the finding whose value, taken from OLD, makes this one
    vanish; or what is left of it with the most that could be given."""
    order = {rung: i for i, rung in enumerate(RUNGS)}
    rest: Pair | None = None
    given: tuple[str, ...] = ()
    for experiment in experiments:
        last = experiment.given[-1]
        again = next((p for p in experiment.pairs if p.finding == pair.finding), None)
        # A value handed over at a rung says nothing about that rung's own metrics.
        if again is None or order[pair.rung] <= order[rung_of(last)]:
            continue
        if again.verdict is not Verdict.SAME:
            # An experiment that broke has left nothing that could be explained.
            if again.verdict in MEASURED:
                rest, given = again, experiment.given
            continue
        # What is handed over is the plainest attention, not OLD's: it stands for rows without a
        # key, and right padding has none. What it mends there is a fault of NEW's own attention.
        if last == "attention" and pair.case.split(".")[0] == "right":
            continue
        proof = f"vanishes when NEW is given OLD's {last}"
        if len(experiment.given) > 1:
            proof += " besides " + ", ".join(experiment.given[:-1])
        # Where no finding stands for that value, the difference stands for itself.
        return first.get(last, ""), proof, None, experiment.given
    return "", "", rest, given


def _representatives(differing: Sequence[Pair]) -> dict[str, str]:
    """By handed value the finding that stands for it, else the first of the rung."""
    standing_for: dict[str, str] = {}
    for pair in differing:
        standing_for.setdefault(pair.rung, pair.finding)
    # Whole batches stand for whatever of the data moved first.
    data = next((p.finding for p in differing if p.rung in ("text", "ids", "images", "labels")), "")
    if data:
        standing_for["batches"] = data
    for pair in reversed(differing):
        for handed, metric in HANDED_METRIC.items():
            if metric == pair.metric and rung_of(handed) == pair.rung:
                standing_for[handed] = pair.finding
    return standing_for


def findings_of(
    pairs: Sequence[Pair],
    experiments: Sequence[Experiment],
    changes: Iterable[Change],
    versions: tuple[Mapping[str, str], Mapping[str, str]],
    accepted: frozenset[str] = frozenset(),
    family: str = "",
) -> tuple[Finding, ...]:
    """Every difference with what explains it: an earlier finding, a known change, or nothing.

    family: of the model; changes of another family's own files are left out.
    """
    differing = [p for p in pairs if p.differs]
    # What one side alone could measure may be the change's own finding, or what moved in its band.
    moved = [p for p in pairs if p.differs or p.verdict in {Verdict.NOT_RUN, Verdict.SAME}]
    working = at_work(changes, moved, *versions, family)
    first = _representatives(differing)
    findings: list[Finding] = []
    done: list[Pair] = []
    for pair in differing:
        cause, note, rest, given = _follows(pair, experiments, first)
        same = _same_error(pair, done)
        if same:
            cause, note = same, "breaks with the same error"
        elif _at_mismatch(pair, differing):
            cause, note = MISMATCH, "breaks where these releases meet"
        # What is left without the earlier differences is what has to be explained.
        known = mismatch(pair) or (() if cause else explanation(rest or pair, working))
        findings.append(Finding(pair, rest, given, known, cause, note, pair.finding in accepted))
        done.append(pair)
    # What one side could not run because an earlier value broke there follows from that value.
    for pair in pairs:
        if pair.verdict is not Verdict.NOT_RUN:
            continue
        for side in (pair.old, pair.new):
            if side.is_blocked and any(p.finding == side.blocked_by for p in differing):
                note = "not measured there because that value broke"
                findings.append(Finding(pair, cause=side.blocked_by, cause_note=note))
                break
    order = {rung: i for i, rung in enumerate(RUNGS)}
    findings = [replace(f, covered=_covered(f, findings)) for f in findings]
    return tuple(
        sorted(findings, key=lambda f: (order[f.pair.rung], f.cause != "", f.pair.finding))
    )


def _covered(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether the finding at the root of this one is red or accepted.

    Who accepts that releases do not fit has not accepted what breaks there.
    """
    by_id = {f.pair.finding: f for f in findings}
    seen = {finding.pair.finding}
    cause = by_id.get(finding.cause)
    while cause is not None and cause.cause and not cause.accepted:
        if cause.pair.finding in seen:
            return False
        seen.add(cause.pair.finding)
        cause = by_id.get(cause.cause)
    if cause is None:
        return False
    return cause.is_red or (cause.accepted and cause.pair.finding != MISMATCH)


def compare(
    labels: tuple[str, str],
    records: tuple[Mapping[str, Record], Mapping[str, Record]],
    pairs: Sequence[Pair],
    changes: Iterable[Change],
    *,
    experiments: Sequence[Experiment] = (),
    established: bool = False,
    accepted: frozenset[str] = frozenset(),
    wanted: Sequence[str] = (),
    given: tuple[str, str] = ("", ""),
    again: Sequence[Pair] = (),
) -> Comparison:
    """Put the pairs of all rungs together.

    wanted: rungs that were asked for; one without a record on either side is reported missing.
    given: the sides as the user gave them. again: pairs of a second look.
    """
    pairs, looks = settle(pairs, again)
    old, new = records
    some = [next(iter(side.values())).provenance for side in records if side]
    versions = tuple(
        dict(next(iter(side.values())).provenance.versions) if side else {} for side in records
    )
    both = (versions[0], versions[1])
    families = {provenance.family for provenance in some}
    family = families.pop() if len(families) == 1 else ""
    findings = findings_of(
        pairs, experiments, changes, both, accepted, "" if family == TRAINING_FAMILY else family
    )
    seen = {f.pair.finding for f in findings} | {p.finding for p in pairs if p.broken == "both"}
    missing = []
    for rung in wanted or RUNGS:
        without = [n for n, side in zip(("OLD", "NEW"), records, strict=True) if rung not in side]
        if len(without) == 1 or (without and wanted):
            missing.append(MissingRung(rung, tuple(without)))
    keys = ("model", "data", "device_key", "vocabulary", "model_digest", "recipe", "family")
    return Comparison(
        labels[0],
        labels[1],
        both,
        # Of two devices, models, … both are named; a side whose every rung died knows none.
        {
            k: " / ".join(dict.fromkeys(filter(None, (str(getattr(p, k)) for p in some))))
            for k in keys
        },
        tuple(rung for rung in RUNGS if rung in old and rung in new),
        pairs,
        findings,
        established,
        tuple(experiments),
        tuple(missing),
        tuple(sorted(accepted - seen)),
        {r: (old[r].seconds, new[r].seconds) for r in old if r in new},
        given,
        looks,
        accepted,
    )
