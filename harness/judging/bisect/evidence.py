"""A found boundary with what supports it: both states, what moved with it, which of them it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.judging.bisect.answers import Cause, Edge, FindingAnswer, Shown
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.question import Question, State, answer
from harness.judging.bisect.search import Answer, Boundary, Found


def explain(
    package: str,
    question: Question,
    history: Found,
    version: Sequence[str],
    measured: Mapping[int, Measured],
    bench: Bench,
    wanted: Callable[[int], Sequence[str]],
) -> FindingAnswer:
    """One finding's answer: boundaries with evidence, what was sampled, what is assumed.

    version: every position's release. wanted: what a position is measured with.
    """
    return FindingAnswer(
        package=package,
        boundaries=tuple(
            _edge(package, question, boundary, version, measured, bench, wanted)
            for boundary in history.boundaries
        ),
        evaluated={version[p]: outcome for p, outcome in history.outcomes.items()},
        assumed=tuple((version[a], version[b]) for a, b in history.assumed),
        by_verdict=question.by_verdict,
        band=question.band,
        monotonic=history.is_monotonic,
        exact=all(boundary.is_exact for boundary in history.boundaries),
    )


def _edge(
    package: str,
    question: Question,
    boundary: Boundary,
    version: Sequence[str],
    measured: Mapping[int, Measured],
    bench: Bench,
    wanted: Callable[[int], Sequence[str]],
) -> Edge:
    before, after = measured[boundary.before], measured[boundary.after]
    assert before.layer is not None
    assert after.layer is not None
    companions = {
        name: (before.layer.versions.get(name, ""), after.layer.versions.get(name, ""))
        for name in sorted({*before.layer.moved, *after.layer.moved})
        if before.layer.versions.get(name) != after.layer.versions.get(name)
    }
    cause, note = _cause(question, wanted(boundary.before), companions, before, after, bench)
    return Edge(
        package=package,
        before=version[boundary.before],
        after=version[boundary.after],
        old=boundary.old,
        new=boundary.new,
        skipped={
            version[p]: measured[p].problem or measured[p].state(question).text
            for p in boundary.skipped
        },
        shows=(_shown(before.state(question)), _shown(after.state(question))),
        companions=companions,
        cause=cause,
        cause_note=note,
        requirements=(tuple(before.layer.requirements), tuple(after.layer.requirements)),
    )


def _shown(state: State) -> Shown:
    return Shown(state.kind, state.value, state.reason)


def _cause(
    question: Question,
    wanted: Sequence[str],
    companions: Mapping[str, Sequence[str]],
    before: Measured,
    after: Measured,
    bench: Bench,
) -> tuple[Cause, str]:
    """Whether it was the package or its companions, or why the two cannot be told apart.

    The release before is measured once more with the companions of the release after.
    """
    if not companions:
        return Cause.PACKAGE, ""
    moved = [f"{name}=={new}" for name, (_, new) in companions.items() if new]
    built_before = bench.built
    mixed = bench.measure([*wanted, *moved])
    bench.extra += bench.built - built_before
    if mixed.problem:
        return Cause.OPEN, "the two releases accept no common version of them"
    state = mixed.state(question)
    outcome = answer(question, state, before.state(question), after.state(question))
    if outcome.answer is Answer.SKIP:
        return Cause.OPEN, state.text
    return (Cause.PACKAGE if outcome.answer is Answer.GOOD else Cause.COMPANIONS), ""
