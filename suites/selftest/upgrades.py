"""Comparisons of two stacks and their answers, for the tests of their page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import Comparison, Experiment
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.view import groups
from harness.records.record import Metric, Provenance, Record, Status, Verdict
from harness.records.typed import Json


def pair(finding: str, before: Json = 1.0, after: Json = 2.0, **changes: object) -> Pair:
    rung, metric, *case = finding.split(".", 2)
    numbers = isinstance(before, float) and isinstance(after, float)
    gap = abs(after - before) if numbers else None  # type: ignore[operator]
    result = Pair(
        finding,
        rung,
        metric,
        "".join(case),
        Verdict.CHANGED,
        Side(Status.OK, before, "measured"),
        Side(Status.OK, after, "emulated"),
        gap=gap,
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def change(name: str, metric: str, severity: str = "cost", **changes: object) -> Change:
    entry = Change(
        name,
        f"title of {name}",
        "torch",
        "1.9",
        "2.0",
        f"ref {name} 2.0",
        severity,
        f"effect of {name}",
        f"advice of {name}",
        f"evidence of {name}",
        (Predicate(metric),),
    )
    return replace(entry, **changes)  # type: ignore[arg-type]


def comparison(
    pairs: Sequence[Pair], changes: Sequence[Change] = (), experiments: Sequence[Experiment] = ()
) -> Comparison:
    sides = []
    for version in ("1.9", "2.0"):
        place = Provenance(
            "s", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": version}, family="qwen2_vl"
        )
        sides.append(
            {p.rung: Record(p.rung, place, (Metric(p.rung, "m", value=1),)) for p in pairs}
        )
    return compare(
        ("OLDSTACK", "NEWSTACK"),
        (sides[0], sides[1]),
        pairs,
        changes,
        experiments=experiments,
        established=True,
    )


def told(outcome: Comparison) -> tuple[str, str]:
    parts = answer(outcome, groups(outcome))
    return parts.tone, parts.title


FIXED = pair("inputs.positions.left", verdict=Verdict.IMPROVED, standing="fixed")


BROKEN = pair(
    "interface.call.x",
    verdict=Verdict.BROKEN,
    broken="new",
    new=Side(Status.BROKEN, error="TypeError: gone (x:1)"),
)


SAME = pair("text.rendered.a", "a", "a", verdict=Verdict.SAME)


M_ROPE = change("mrope", "inputs.positions", "wrong training")


CALL = change(
    "call",
    "interface.call",
    "crash",
    when=(Predicate("interface.call", broken="new", error="gone"),),
)
