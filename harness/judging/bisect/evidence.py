"""A found boundary with what supports it: both states, what moved with it, which of them it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.question import Question, State, answer
from harness.judging.bisect.search import Boundary, Found


def explain(
    question: Question,
    found: Found,
    version: Sequence[str],
    measured: Mapping[int, Measured],
    bench: Bench,
    wanted: Callable[[int], Sequence[str]],
) -> dict[str, Any]:
    """One finding's answer as JSON: boundaries with evidence, what was sampled, what is assumed.

    version: every position's release. wanted: what a position is measured with.
    """
    edges = [_edge(question, b, version, measured, bench, wanted) for b in found.boundaries]
    return {
        "by_verdict": question.by_verdict,
        "band": asdict(question.band) if question.band else None,
        "boundaries": edges,
        "monotonic": found.is_monotonic,
        "evaluated": {
            version[p]: {"answer": o.answer.value, "shows": o.reason}
            for p, o in found.outcomes.items()
        },
        "assumed": [[version[a], version[b]] for a, b in found.assumed],
        "exact": all(b.is_exact for b in found.boundaries),
    }


def _edge(
    question: Question,
    edge: Boundary,
    version: Sequence[str],
    measured: Mapping[int, Measured],
    bench: Bench,
    wanted: Callable[[int], Sequence[str]],
) -> dict[str, Any]:
    before, after = measured[edge.before], measured[edge.after]
    assert before.layer is not None
    assert after.layer is not None
    companions = {
        name: [before.layer.versions.get(name, ""), after.layer.versions.get(name, "")]
        for name in sorted({*before.layer.moved, *after.layer.moved})
        if before.layer.versions.get(name) != after.layer.versions.get(name)
    }
    return {
        "before": version[edge.before],
        "after": version[edge.after],
        "old": edge.old.value,
        "new": edge.new.value,
        "skipped": {
            version[p]: measured[p].problem or measured[p].state(question).text
            for p in edge.skipped
        },
        "shows": [_shown(m.state(question)) for m in (before, after)],
        "companions": companions,
        "cause": _cause(question, wanted(edge.before), companions, before, after, bench),
        "requirements": [list(before.layer.requirements), list(after.layer.requirements)],
    }


def _shown(state: State) -> dict[str, Any]:
    return {"kind": state.kind, "value": state.value, "reason": state.reason}


def _cause(
    question: Question,
    wanted: Sequence[str],
    companions: Mapping[str, Sequence[str]],
    before: Measured,
    after: Measured,
    bench: Bench,
) -> str:
    """`package`, `companions`, or why the two cannot be told apart.

    The release before is measured once more with the companions of the release after.
    """
    if not companions:
        return "package"
    moved = [f"{name}=={new}" for name, (_, new) in companions.items() if new]
    before_it = bench.built
    mixed = bench.measure([*wanted, *moved])
    bench.extra += bench.built - before_it
    if mixed.problem:
        return "not established: the two releases accept no common version of them"
    state = mixed.state(question)
    outcome = answer(question, state, before.state(question), after.state(question))
    return {"GOOD": "package", "BAD": "companions"}.get(
        outcome.answer.value, f"not established: {state.text}"
    )
