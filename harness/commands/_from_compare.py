"""`harness bisect --from-compare DIR`: which package, then which release, for its findings."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands._screen import console
from harness.commands.bisect import (
    SCHEMA,
    band_asked,
    check_measured,
    make_bench,
    search_range,
    show,
    source_words,
)
from harness.errors import BadInput, NotRunnable, StackBroken
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.findings import chosen, same_device, same_source, threads_of
from harness.judging.bisect.question import Question, answer
from harness.judging.bisect.search import EndError, Outcome
from harness.judging.bisect.swap import Blame, Packages, responsible, told_apart
from harness.judging.compare.document import read_comparison
from harness.judging.environments import releases
from harness.judging.environments.overlay import installed, requires


def from_compare(arguments: argparse.Namespace) -> int:
    """0 every finding has its release, 3 some could not be decided."""
    screen = console()
    started = time.monotonic()
    _refuse_others(arguments)
    folder = Path(arguments.from_compare)
    raw = read_comparison(folder)
    asked, unaskable = chosen(raw, arguments.finding or (), band_asked(arguments))
    arguments.base = str(raw["old"])
    arguments.device = same_device(raw["facts"], arguments.device)
    arguments.threads = arguments.threads or threads_of(folder)
    with make_bench(arguments, asked, None, screen) as bench:
        # As between two stacks: trainings draw the masks that the sides of a comparison share.
        bench.context = replace(bench.context, exchange="digest")
        same_source(raw["facts"], bench.context, folder)
        have = installed(bench.python)
        swapped = {
            name: new
            for name, (old, new) in raw["packages"].items()
            if old and new and old != new and have.get(name) == old
        }
        if not swapped:
            raise BadInput(f"The two stacks of {folder} differ in no package that can be swapped.")
        screen.print(
            f"{len(asked)} findings, {len(swapped)} packages differ: {', '.join(swapped)}",
            soft_wrap=True,
        )
        sides = (arguments.base, f"{arguments.base} with the packages of {raw['new']}")
        blames = _blame(asked, swapped, bench, screen, sides)
        answers: dict[str, dict[str, Any]] = {q.finding: {} for q in asked}
        for (package, others), mine in _ranges(asked, blames).items():
            fixed = [f"{name}=={swapped[name]}" for name in sorted(others)]
            old, new = have[package], swapped[package]
            found = _releases(arguments, package, old, new, mine, bench, screen, fixed)
            for finding, entry in found.items():
                answers[finding][package] = entry
        findings = {q.finding: _answered(answers[q.finding], blames[q.finding]) for q in asked}
        findings |= {finding: _answered({}, why) for finding, why in unaskable.items()}
    document = {
        "schema": SCHEMA,
        "package": ", ".join(sorted(swapped)),
        "good": raw["old"],
        "bad": raw["new"],
        "base": arguments.base,
        "from_compare": str(folder),
        "wheels": "",
        "options": source_words(arguments),
        "releases": [],
        "environments": bench.built,
        "for_companions": bench.extra,
        "seconds": round(time.monotonic() - started, 1),
        "findings": findings,
    }
    return show(document, arguments, screen)


def _refuse_others(arguments: argparse.Namespace) -> None:
    """Raises BadInput for what the comparison itself says or --from-compare cannot do."""
    for name in ("package", "good", "bad", "metric", "wheels", "pre", "yanked"):
        if getattr(arguments, name):
            word = "PACKAGE" if name == "package" else f"--{name}"
            raise BadInput(
                f"{word} does not go with --from-compare, which takes packages, releases and "
                "values from the comparison; leave it out."
            )


def _blame(
    asked: Sequence[Question],
    swapped: Mapping[str, str],
    bench: Bench,
    screen: Console,
    sides: tuple[str, str],
) -> dict[str, Blame | str]:
    """Per finding the responsible packages, or in words why there are none.

    sides: what nothing swapped and everything swapped are called.
    """
    held: dict[Packages, Measured] = {}

    def measure(packages: Packages) -> Measured:
        if packages not in held:
            named = [f"{name}=={swapped[name]}" for name in sorted(packages)]
            held[packages] = bench.measure(named)
            bench.keep(())
            said = held[packages].problem[:120] or "measured"
            screen.print(
                f"  {', '.join(named) or 'nothing'} swapped: {said}", soft_wrap=True, markup=False
            )
        return held[packages]

    found: dict[str, Blame | str] = {}
    everything = frozenset(swapped)
    for question in asked:
        good, bad = (measure(side).state(question) for side in (frozenset[str](), everything))

        def evaluate(
            packages: Packages, q: Question = question, g: Any = good, b: Any = bad
        ) -> Outcome:
            return answer(q, measure(packages).state(q), g, b)

        try:
            check_measured(good, bad, *sides)
        except (BadInput, NotRunnable) as error:
            found[question.finding] = f"cannot be bisected: {str(error).rstrip('.')}"
            continue
        try:
            blame = responsible(question.finding, sorted(swapped), evaluate)
            found[question.finding] = _told_apart(blame, measure, bench)
        except EndError:
            found[question.finding] = (
                "swapping the packages that differ does not bring it: it comes from something "
                "else that differs between the stacks"
            )
    return found


def _told_apart(blame: Blame, measure: Callable[[Packages], Measured], bench: Bench) -> Blame:
    """The blame without packages that only took a cause along."""
    singles = [next(iter(cause)) for cause in blame.causes if len(cause) == 1]
    if len(singles) < 2:
        return blame
    layers = {p: measure(frozenset({p})).layer for p in singles}
    drags = {p: frozenset(layer.moved) for p, layer in layers.items() if layer is not None}
    return told_apart(blame, drags, {p: requires(bench.python, p) for p in singles})


def _ranges(
    asked: Sequence[Question], blames: Mapping[str, Blame | str]
) -> dict[tuple[str, Packages], list[Question]]:
    """Which packages' releases to search for which findings.

    Of an interaction every package is searched, while the others of it stay at the new stack's.
    """
    found: dict[tuple[str, Packages], list[Question]] = {}
    for question in asked:
        blame = blames[question.finding]
        for cause in blame.causes if isinstance(blame, Blame) else ():
            for package in sorted(cause):
                found.setdefault((package, cause - {package}), []).append(question)
    return found


def _answered(answers: Mapping[str, Mapping[str, Any]], blame: Blame | str) -> dict[str, Any]:
    """One finding's answer. It is not exact while a package that could not be tried may be another
    cause."""
    found = _merged(answers)
    open_ = isinstance(blame, str) or bool(blame.undecided)
    return {**found, "exact": found["exact"] and not open_, "blame": _blame_json(blame)}


def _merged(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One finding's answer from those of every package that matters to it."""
    if not answers:
        return {"boundaries": [], "evaluated": {}, "assumed": [], "monotonic": True, "exact": False}
    if len(answers) == 1:
        ((package, only),) = answers.items()
        return {**only, "package": package}
    problems = [f"{p}: {a['problem']}" for p, a in answers.items() if a.get("problem")]
    return {
        "by_verdict": False,
        "package": " with ".join(answers),
        "boundaries": [{**e, "package": p} for p, a in answers.items() for e in a["boundaries"]],
        "evaluated": {f"{p} {v}": o for p, a in answers.items() for v, o in a["evaluated"].items()},
        "assumed": [[f"{p} {x}", f"{p} {y}"] for p, a in answers.items() for x, y in a["assumed"]],
        "monotonic": all(a["monotonic"] for a in answers.values()),
        "exact": all(a["exact"] for a in answers.values()),
        "repeated": all(a.get("repeated", False) for a in answers.values()),
        "problem": " ".join(problems),
    }


def _blame_json(blame: Blame | str) -> dict[str, Any]:
    if isinstance(blame, str):
        return {
            "causes": [],
            "interaction": False,
            "undecided": {},
            "through": {},
            "problem": blame,
        }
    return {
        "causes": [sorted(cause) for cause in blame.causes],
        "interaction": blame.is_interaction,
        "undecided": {", ".join(sorted(s)): why for s, why in blame.undecided.items()},
        "through": dict(blame.through),
        "problem": "",
    }


def _releases(
    arguments: argparse.Namespace,
    package: str,
    old: str,
    new: str,
    asked: Sequence[Question],
    bench: Bench,
    screen: Console,
    fixed: Sequence[str],
) -> dict[str, Any]:
    """The releases of one package for the findings that it causes, alone or with `fixed`."""
    try:
        span = releases.between(releases.published(package), package, old, new)
        screen.print(f"{package}: {len(span)} releases from {old} to {new}", soft_wrap=True)
        return search_range(arguments, package, asked, span, bench, screen, fixed)
    except (BadInput, NotRunnable, StackBroken) as error:
        return {
            q.finding: {
                "boundaries": [],
                "evaluated": {},
                "assumed": [],
                "monotonic": True,
                "exact": False,
                "problem": str(error),
            }
            for q in asked
        }
