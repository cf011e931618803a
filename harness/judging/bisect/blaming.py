"""Which packages make each finding of a comparison: swapped on a bench, told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import Responsible
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.question import Question, State, answer
from harness.judging.bisect.range import Say, check_measured
from harness.judging.bisect.search import EndError, Outcome
from harness.judging.bisect.swap import Blame, Packages, responsible, told_apart
from harness.judging.environments.overlay import requires


def blame_each(
    questions: Sequence[Question],
    swapped: Mapping[str, str],
    bench: Bench,
    say: Say,
    sides: tuple[str, str],
) -> dict[str, Responsible]:
    """Per finding the responsible packages, or in words why there are none.

    swapped: the other stack's version by package. sides: what nothing swapped and everything
    swapped are called.
    """
    measured: dict[Packages, Measured] = {}

    def measure(packages: Packages) -> Measured:
        if packages not in measured:
            named = [f"{name}=={swapped[name]}" for name in sorted(packages)]
            measured[packages] = bench.measure(named)
            bench.keep(())
            problem = measured[packages].problem[:120] or "measured"
            say(f"  {', '.join(named) or 'nothing'} swapped: {problem}")
        return measured[packages]

    everything = frozenset(swapped)
    return {
        question.finding: _blame(question, everything, measure, bench, sides)
        for question in questions
    }


def _blame(
    question: Question,
    everything: Packages,
    measure: Callable[[Packages], Measured],
    bench: Bench,
    sides: tuple[str, str],
) -> Responsible:
    good, bad = (measure(side).state(question) for side in (frozenset[str](), everything))
    try:
        check_measured(good, bad, *sides)
    except (BadInput, NotRunnable) as error:
        return Responsible(problem=f"cannot be bisected: {str(error).rstrip('.')}")
    try:
        blame = responsible(
            question.finding, sorted(everything), _evaluation(question, measure, good, bad)
        )
    except EndError:
        return Responsible(
            problem="swapping the packages that differ does not bring it: it comes from something "
            "else that differs between the stacks"
        )
    blame = _told_apart(blame, measure, bench)
    return Responsible(
        causes=tuple(tuple(sorted(cause)) for cause in blame.causes),
        interaction=blame.is_interaction,
        undecided={", ".join(sorted(names)): why for names, why in blame.undecided.items()},
        through=dict(blame.through),
    )


def _evaluation(
    question: Question, measure: Callable[[Packages], Measured], good: State, bad: State
) -> Callable[[Packages], Outcome]:
    return lambda packages: answer(question, measure(packages).state(question), good, bad)


def _told_apart(blame: Blame, measure: Callable[[Packages], Measured], bench: Bench) -> Blame:
    """The blame without packages that only took a cause along."""
    singles = [next(iter(cause)) for cause in blame.causes if len(cause) == 1]
    if len(singles) < 2:
        return blame
    layers = {p: measure(frozenset({p})).layer for p in singles}
    drags = {p: frozenset(layer.moved) for p, layer in layers.items() if layer is not None}
    return told_apart(blame, drags, {p: requires(bench.python, p) for p in singles})
