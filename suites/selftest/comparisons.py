"""Pairs, sides and a comparison of them, without records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import Lack
from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import Comparison, Experiment
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.register import Change
from harness.records.failure import Failure, Mismatch
from harness.records.record import Metric, Provenance, Record, Status, Verdict

VERSIONS = ({"torch": "1.9", "peft": "0.1"}, {"torch": "2.0", "peft": "0.1"})


def pair(finding: str, verdict: Verdict = Verdict.CHANGED, **changes: object) -> Pair:
    rung, metric = finding.split(".")[:2]
    case = ".".join(finding.split(".")[2:])
    side = Side(Status.OK, 1.0, "measured")
    result = Pair(finding, rung, metric, case, verdict, side, replace(side, value=2.0))
    return replace(result, **changes)  # type: ignore[arg-type]


def failed(text: str, *around: Mismatch) -> Side:
    """A side that broke, from `type: message (where)` and what does not fit around it."""
    kind, rest = text.split(": ", 1)
    message, where = rest.removesuffix(")").rsplit(" (", 1)
    failure = Failure(kind, message, where, around)
    return Side(Status.BROKEN, error=text, failure=failure)


def blocked(finding: str, status: Status | None = Status.NOT_RUN) -> Side:
    return Side(status, error=f"{finding} broke", lack=Lack.FINDING, blocked_by=finding)


def broken(finding: str, side: str, error: str = "E: m (x:1)", *around: Mismatch) -> Pair:
    bad = failed(error, *around)
    sides = (
        {"old": bad}
        if side == "old"
        else {"new": bad}
        if side == "new"
        else {"old": bad, "new": bad}
    )
    return pair(finding, Verdict.BROKEN, broken=side, **sides)


def record(rung: str, versions: dict[str, str]) -> Record:
    place = Provenance("s", "stand-in", "catalogue", "cpu-x", "r", "s", versions, family="qwen2_vl")
    return Record(rung, place, (Metric(rung, "m", value=1),), 1.0)


def comparison(
    pairs: Sequence[Pair],
    *,
    changes: Sequence[Change] = (),
    experiments: Sequence[Experiment] = (),
    accepted: frozenset[str] = frozenset(),
    wanted: Sequence[str] = (),
    rungs: Sequence[str] = ("inputs", "forward", "update"),
) -> Comparison:
    sides = tuple({r: record(r, v) for r in rungs} for v in VERSIONS)
    return compare(
        ("a", "b"),
        (sides[0], sides[1]),
        pairs,
        changes,
        experiments=experiments,
        accepted=accepted,
        wanted=wanted,
    )


MEETING = Mismatch("transformers", "5.0.0", "torch", "2.4.0", ">=2.6")
