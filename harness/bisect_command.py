"""`harness bisect`: wiring of releases, search, evaluation and showing."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import releases
from harness.bisect import Answer, Boundary, EndError, Found, Outcome, search
from harness.commands import console, emit, new_context
from harness.context import Scale
from harness.errors import BadInput, NotRunnable
from harness.evaluation import Bench, Measured
from harness.question import ABSENT, Question, State, answer, is_noisy
from harness.record import RUNGS, write_json
from harness.stack import cache_root, environment_for

SCHEMA = 1


def questions(arguments: argparse.Namespace) -> tuple[Question, ...]:
    """What is asked: findings by their verdict, metrics by their value.

    Raises BadInput where nothing is asked, or for an id whose rung does not exist.
    """
    asked = [Question(f, by_verdict=True) for f in arguments.finding or ()]
    asked += [Question(m, arguments.band) for m in arguments.metric or ()]
    if not asked:
        raise BadInput(
            "Say what moved: --finding ID (judged against its golden) or --metric RUNG.METRIC."
        )
    for question in asked:
        if question.rung not in RUNGS or "." not in question.finding:
            raise BadInput(
                f"{question.finding!r} names no metric; write RUNG.METRIC[.CASE] with one of "
                f"{', '.join(RUNGS)}."
            )
    if arguments.band is not None and not 0 <= arguments.band < math.inf:
        raise BadInput(f"--band is {arguments.band}; give a part of the good end's value, as 0.01.")
    return tuple(asked)


def bisect_command(arguments: argparse.Namespace) -> int:
    """Find the release; 0 found exactly, 3 a range or nothing could be decided."""
    if arguments.from_compare:
        from harness.bisect_compare import from_compare

        return from_compare(arguments)
    for name in ("package", "good", "bad"):
        if not getattr(arguments, name):
            raise BadInput("Give PACKAGE, --good and --bad, or --from-compare DIR.")
    screen = console()
    started = time.monotonic()
    asked = questions(arguments)
    wheels = arguments.wheels.resolve() if arguments.wheels else None
    held = (
        releases.in_folder(arguments.package, wheels)
        if wheels
        else releases.published(arguments.package)
    )
    span = releases.between(
        held, arguments.package, arguments.good, arguments.bad,
        pre=arguments.pre, yanked=arguments.yanked,
    )  # fmt: skip
    screen.print(f"{len(span)} releases of {arguments.package} from {arguments.good} to "
                 f"{arguments.bad}, base {arguments.base}", soft_wrap=True)  # fmt: skip
    bench = make_bench(arguments, asked, wheels, screen)
    try:
        found = search_range(arguments, arguments.package, asked, span, bench, screen)
    except KeyboardInterrupt:
        screen.print("interrupted; the same command goes on: what was measured is kept")
        return 130
    document = {
        "schema": SCHEMA,
        "package": arguments.package,
        "good": arguments.good,
        "bad": arguments.bad,
        "base": arguments.base,
        "releases": [str(r.version) for r in span],
        "environments": bench.built,
        "seconds": round(time.monotonic() - started, 1),
        "findings": found,
    }
    return show(document, arguments, screen)


def make_bench(
    arguments: argparse.Namespace, asked: Sequence[Question], wheels: Path | None, screen: Console
) -> Bench:
    screen.print(f"building or reusing the environment of {arguments.base}", soft_wrap=True)
    python = environment_for(arguments.base)
    root = cache_root() / "bisect"
    arguments.stack = arguments.base
    context = new_context(arguments, root / "source", python, Scale())
    rungs = tuple(r for r in RUNGS if r in {q.rung for q in asked})
    return Bench(
        arguments.base, python, context, root, rungs, wheels=wheels, limit_s=arguments.limit,
        say=lambda line: screen.print(line, soft_wrap=True),
    )  # fmt: skip


def search_range(
    arguments: argparse.Namespace,
    package: str,
    asked: Sequence[Question],
    span: Sequence[releases.Release],
    bench: Bench,
    screen: Console,
) -> dict[str, Any]:
    """Bisect one package's releases for all questions at once; explained answers by finding.

    Raises BadInput or NotRunnable where an end does not show what is claimed.
    """
    measured: dict[int, Measured] = {}
    last = len(span) - 1

    def measure(position: int) -> Measured:
        if position not in measured:
            begin = time.monotonic()
            found = bench.measure([span[position].requirement(package)])
            measured[position] = found
            took = f"{time.monotonic() - begin:.0f} s" if found.fresh else "kept"
            shown = "; ".join(f"{q.finding}: {found.state(q).text[:90]}" for q in asked)
            screen.print(f"  {package} {span[position].version}  {took}  {shown}",
                         soft_wrap=True, markup=False)  # fmt: skip
        return measured[position]

    ends = {q: (measure(0).state(q), measure(last).state(q)) for q in asked}
    noisy = {q for q in asked if is_noisy(q, measured[0].records)}
    names = (f"{package} {span[0].version}", f"{package} {span[-1].version}")
    for question, (good, bad) in ends.items():
        check_measured(good, bad, *names)
        if question not in noisy:
            check_ends(question, good, bad, *names)

    def evaluate(position: int) -> Mapping[str, Outcome]:
        found = measure(position)
        return {
            q.finding: paired(q, position) if q in noisy else answer(q, found.state(q), *ends[q])
            for q in asked
        }

    def paired(question: Question, position: int) -> Outcome:
        if position == 0:
            return Outcome(Answer.GOOD, "the end that the others are paired with")
        good, here = (span[p].requirement(package) for p in (0, position))
        return bench.paired([good], [here], question)

    try:
        found = search(
            len(span), [q.finding for q in asked], evaluate,
            monotonic=arguments.assume_monotonic, exhaustive=arguments.exhaustive,
        )  # fmt: skip
    except EndError as error:
        raise BadInput(
            f"{error.finding}: {package} {span[error.position].version} does not differ from "
            f"{span[0].version}: {error.outcome.reason}."
        ) from error
    return {q.finding: explain(q, found[q.finding], span, measured, bench, package) for q in asked}


def check_measured(good: State, bad: State, first: str, last: str) -> None:
    """Raises BadInput for a metric that neither end has, NotRunnable where nothing is known."""
    if good.value == bad.value == ABSENT and good.kind == bad.kind == "none":
        raise BadInput(f"{bad.reason}.")
    for end, state in ((first, good), (last, bad)):
        if state.kind == "lost":
            raise NotRunnable(f"{end}, an end of the range: {state.reason.rstrip('.')}.")


def check_ends(question: Question, good: State, bad: State, first: str, last: str) -> None:
    """Raises BadInput or NotRunnable where the ends do not show what the user claims."""
    if question.by_verdict and good.kind == "value" and good.value != "right":
        raise BadInput(
            f"{first} shows {question.finding} too ({good.text}); give an end without "
            "it to --good, or ask for the value with --metric."
        )
    if question.by_verdict and good.kind != "value":
        raise NotRunnable(
            f"{first} cannot be judged ({good.text}); give another release to --good or "
            "another --base, or ask with --metric where the error itself is the question."
        )
    if question.by_verdict and bad.kind == "value" and bad.value == "right":
        raise BadInput(f"{last} does not show {question.finding}; give an end that does to --bad.")
    if answer(question, bad, good, bad).answer != "BAD":
        raise BadInput(
            f"{question.finding} is the same at both ends, {first} and {last}: {good.text}; "
            "nothing moved between them that this metric sees."
        )


def explain(
    question: Question, found: Found, span: Sequence[releases.Release],
    measured: Mapping[int, Measured], bench: Bench, package: str,
) -> dict[str, Any]:  # fmt: skip
    """One finding's answer as JSON: boundaries with evidence, what was sampled, what is assumed."""
    version = [str(r.version) for r in span]
    edges = [_edge(question, b, version, measured, bench, package, span) for b in found.boundaries]
    return {
        "by_verdict": question.by_verdict,
        "band": question.band,
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
    question: Question, edge: Boundary, version: Sequence[str], measured: Mapping[int, Measured],
    bench: Bench, package: str, span: Sequence[releases.Release],
) -> dict[str, Any]:  # fmt: skip
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
        "skipped": {version[p]: measured[p].problem or measured[p].state(question).text
                    for p in edge.skipped},
        "shows": [asdict(before.state(question)), asdict(after.state(question))],
        "companions": companions,
        "cause": _cause(question, edge, companions, before, after, bench, package, span),
        "requirements": [list(before.layer.requirements), list(after.layer.requirements)],
    }  # fmt: skip


def _cause(
    question: Question, edge: Boundary, companions: Mapping[str, Sequence[str]],
    before: Measured, after: Measured, bench: Bench, package: str,
    span: Sequence[releases.Release],
) -> str:  # fmt: skip
    """`package`, `companions`, or why the two cannot be told apart.

    The release before is measured once more with the companions of the release after.
    """
    if not companions:
        return "package"
    moved = [f"{name}=={new}" for name, (_, new) in companions.items() if new]
    mixed = bench.measure([span[edge.before].requirement(package), *moved])
    if mixed.problem:
        return "not established: the two releases accept no common version of them"
    state = mixed.state(question)
    outcome = answer(question, state, before.state(question), after.state(question))
    return {"GOOD": "package", "BAD": "companions"}.get(
        outcome.answer.value, f"not established: {state.text}"
    )


def show(document: dict[str, Any], arguments: argparse.Namespace, screen: Console) -> int:
    from harness.report.bisected import page, script, sentences
    from harness.session import new_run

    out = arguments.out.resolve() if arguments.out else new_run()
    write_json(out / "bisect.json", document)
    for name, text in (("report.html", page(document)), ("reproduce.sh", script(document))):
        (out / name).write_text(text, encoding="utf-8")
    for line in sentences(document):
        screen.print(line, soft_wrap=True, markup=False)
    screen.print(f"report: {out / 'report.html'}", soft_wrap=True)
    if arguments.json:
        # The document's own schema is bisect.json's.
        emit({**document, "bisect_schema": document["schema"], "out": str(out)})
    return 0 if all(f.get("exact") for f in document["findings"].values()) else 3
