"""`bisect --from-compare`: which package, then which release, for a comparison's findings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.errors import BadInput, NotRunnable, StackBroken
from harness.judging.bisect.answers import Bisection, FindingAnswer, Responsible
from harness.judging.bisect.bench import Bench
from harness.judging.bisect.blaming import blame_each
from harness.judging.bisect.findings import (
    chosen,
    same_device,
    same_recipe,
    same_source,
    threads_of,
)
from harness.judging.bisect.question import Question
from harness.judging.bisect.range import Say, open_bench, search_range
from harness.judging.bisect.spec import ComparisonSpec, Search, probe_options
from harness.judging.bisect.swap import Packages
from harness.judging.compare.document import read_comparison
from harness.judging.environments import releases
from harness.judging.environments.overlay import installed


def bisect_comparison(spec: ComparisonSpec, say: Say) -> Bisection:
    """Every finding's packages and their releases. Raises BadInput where nothing can be asked."""
    started = time.monotonic()
    folder = spec.folder
    compared = read_comparison(folder)
    if compared.between_directories:
        raise BadInput(
            f"{folder} compares directories of records; packages can only be swapped between "
            "stacks."
        )
    asked, unaskable = chosen(compared, spec.wanted, spec.band)
    request = replace(
        spec.search.request,
        stack=compared.old,
        device=same_device(compared.facts, spec.search.request.device),
        threads=spec.search.request.threads or threads_of(folder),
        recipe=same_recipe(compared.facts, spec.search.request.recipe),
    )
    how = replace(spec.search, request=request)
    with open_bench(how, asked, None, say) as bench:
        # As between two stacks: trainings draw the masks that the sides of a comparison share.
        bench.context = replace(bench.context, exchange="digest")
        same_source(compared.facts, bench.context, folder)
        here = installed(bench.python)
        swapped = {
            name: new
            for name, (old, new) in compared.packages.items()
            if old and new and old != new and here.get(name) == old
            if not spec.packages or name in spec.packages
        }
        if not swapped:
            raise BadInput(f"The two stacks of {folder} differ in no package that can be swapped.")
        say(f"{len(asked)} findings, {len(swapped)} packages differ: {', '.join(swapped)}")
        sides = (how.base, f"{how.base} with the packages of {compared.new}")
        blames = blame_each(asked, swapped, bench, say, sides)
        answers: dict[str, dict[str, FindingAnswer]] = {q.finding: {} for q in asked}
        for (package, others), questions in _ranges(asked, blames).items():
            fixed = [f"{name}=={swapped[name]}" for name in sorted(others)]
            ends = here[package], swapped[package]
            searched = _releases(package, ends, questions, bench, how, say, fixed)
            for finding, answer in searched.items():
                answers[finding][package] = answer
    findings = {q.finding: _answered(answers[q.finding], blames[q.finding]) for q in asked}
    findings |= {name: _answered({}, Responsible(problem=why)) for name, why in unaskable.items()}
    return Bisection(
        package=", ".join(sorted(swapped)),
        good=compared.old,
        bad=compared.new,
        base=how.base,
        findings=findings,
        options=probe_options(request),
        from_compare=str(folder),
        environments=bench.built,
        for_companions=bench.extra,
        seconds=round(time.monotonic() - started, 1),
    )


def _ranges(
    asked: Sequence[Question], blames: Mapping[str, Responsible]
) -> dict[tuple[str, Packages], list[Question]]:
    """Which packages' releases to search for which findings.

    Of an interaction every package is searched, while the others of it stay at the new stack's.
    """
    ranges: dict[tuple[str, Packages], list[Question]] = {}
    for question in asked:
        for cause in blames[question.finding].causes:
            for package in cause:
                others = frozenset(cause) - {package}
                ranges.setdefault((package, others), []).append(question)
    return ranges


def _answered(answers: Mapping[str, FindingAnswer], blame: Responsible) -> FindingAnswer:
    """One finding's answer. It is not exact while a package that could not be tried may be another
    cause."""
    merged = _merged(answers)
    return replace(merged, exact=merged.exact and not blame.is_open, blame=blame)


def _merged(answers: Mapping[str, FindingAnswer]) -> FindingAnswer:
    """One finding's answer from those of every package that matters to it."""
    if not answers:
        return FindingAnswer(package="")
    if len(answers) == 1:
        return next(iter(answers.values()))
    each = answers.items()
    return FindingAnswer(
        package=" with ".join(answers),
        boundaries=tuple(edge for answer in answers.values() for edge in answer.boundaries),
        evaluated={f"{p} {v}": o for p, answer in each for v, o in answer.evaluated.items()},
        assumed=tuple((f"{p} {x}", f"{p} {y}") for p, answer in each for x, y in answer.assumed),
        band=next(iter(answers.values())).band,
        monotonic=all(answer.monotonic for answer in answers.values()),
        exact=all(answer.exact for answer in answers.values()),
        repeated=all(answer.repeated for answer in answers.values()),
        problem=" ".join(f"{p}: {answer.problem}" for p, answer in each if answer.problem),
    )


def _releases(
    package: str,
    ends: tuple[str, str],
    questions: Sequence[Question],
    bench: Bench,
    how: Search,
    say: Say,
    fixed: Sequence[str],
) -> Mapping[str, FindingAnswer]:
    """The releases of one package for the findings that it causes, alone or with `fixed`."""
    try:
        span = releases.between(releases.published(package), package, *ends)
        say(f"{package}: {len(span)} releases from {ends[0]} to {ends[1]}")
        return search_range(package, questions, span, bench, how, say, fixed)
    except (BadInput, NotRunnable, StackBroken) as error:
        return {q.finding: FindingAnswer(package=package, problem=str(error)) for q in questions}
