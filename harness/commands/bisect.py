"""`harness bisect`: wiring of releases, search, evaluation and showing."""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.commands._arguments import filled, json_option, path, seconds, source_options
from harness.commands._measuring import request_of, warner
from harness.commands._screen import console, emit
from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.evidence import explain
from harness.judging.bisect.question import ABSENT, Question, State, answer, is_noisy
from harness.judging.bisect.search import Answer, EndError, Outcome, search
from harness.judging.environments import releases
from harness.judging.environments.build import environment_for
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.report.bisect.page import page, sentences
from harness.judging.report.bisect.reproduce import script
from harness.judging.workers.resolve import new_context
from harness.records.context import Scale
from harness.records.files import write_atomically, write_json
from harness.records.folders import cache_root, output_folder
from harness.records.record import RUNGS

ABOUT = "which release of a package changed it"
SCHEMA = 1
# How the repetition of a release beside a change is kept and shown.
AGAIN = "again"
# Of a release's values so many are printed while it runs; its records hold all.
MOST_SHOWN = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """What moved, between which ends, and what to measure on."""
    add = parser.add_argument
    add("package", type=filled, nargs="?", metavar="PACKAGE", help="e.g. transformers")
    add("--from-compare", type=filled, metavar="DIR", help="the findings of a comparison")
    add("--good", type=filled, metavar="VERSION", help="a release without it")
    add("--bad", type=filled, metavar="VERSION", help="a release that shows it")
    add("--base", type=filled, default="reference", metavar="STACK", help="all else stays here")
    add("--finding", type=filled, action="append", metavar="ID", help="judged by its golden")
    add("--metric", type=filled, action="append", metavar="RUNG.METRIC", help="by its value")
    add("--band", type=float, help="what a value may move by, as a part of it")
    add("--wheels", type=path, metavar="DIR", help="offline, from these wheels")
    add("--assume-monotonic", action="store_true", help="it changed only once")
    add("--exhaustive", action="store_true", help="evaluate every release")
    add("--pre", action="store_true", help="pre-releases too")
    add("--yanked", action="store_true", help="yanked releases too")
    add(
        "--limit",
        type=seconds,
        default=600.0,
        metavar="SECONDS",
        help="for one rung (default 600)",
    )
    add("--out", type=path, help="its folder (default: a new one in reports/)")
    json_option(parser)
    source_options(parser)


def questions(arguments: argparse.Namespace) -> tuple[Question, ...]:
    """What is asked: findings by their verdict, metrics by their value.

    Raises BadInput where nothing is asked, or for an id whose rung does not exist.
    """
    asked = [Question(f, by_verdict=True) for f in arguments.finding or ()]
    band = band_asked(arguments)
    asked += [Question(m, band) for m in arguments.metric or ()]
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
    return tuple(asked)


def band_asked(arguments: argparse.Namespace) -> Band | None:
    """The band of `--band`, None without it. Raises BadInput where it is no part of a value."""
    if arguments.band is None:
        return None
    if not 0 <= arguments.band < math.inf:
        raise BadInput(f"--band is {arguments.band}; give a part of the value, as 0.01.")
    return Band(BandKind.RELATIVE, arguments.band, "asked for with --band")


def execute(arguments: argparse.Namespace) -> int:
    """Find the release; 0 found exactly, 3 a range or nothing could be decided."""

    # Before hours of measuring, not after them.
    arguments.out = output_folder(arguments.out)
    if arguments.from_compare:
        from harness.commands._from_compare import from_compare

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
        held,
        arguments.package,
        arguments.good,
        arguments.bad,
        pre=arguments.pre,
        yanked=arguments.yanked,
    )
    screen.print(
        f"{len(span)} releases of {arguments.package} from {arguments.good} to "
        f"{arguments.bad}, base {arguments.base}",
        soft_wrap=True,
    )
    with make_bench(arguments, asked, wheels, screen) as bench:
        found = search_range(arguments, arguments.package, asked, span, bench, screen)
    document = {
        "schema": SCHEMA,
        "package": arguments.package,
        "good": arguments.good,
        "bad": arguments.bad,
        "base": arguments.base,
        "wheels": str(wheels or ""),
        "options": source_words(arguments),
        "releases": [str(r.version) for r in span],
        "environments": bench.built,
        "for_companions": bench.extra,
        "seconds": round(time.monotonic() - started, 1),
        "findings": found,
    }
    return show(document, arguments, screen)


def source_words(arguments: argparse.Namespace) -> list[str]:
    """The words that make `harness probe` measure with the same model, data and device."""
    words = []
    for name in ("model", "data"):
        held = getattr(arguments, name)
        words += [f"--{name}", str(Path(held).resolve()) if Path(held).is_dir() else held]
    threads = ["--threads", str(arguments.threads)] if arguments.threads else []
    return [*words, "--device", arguments.device, *threads]


def make_bench(
    arguments: argparse.Namespace, asked: Sequence[Question], wheels: Path | None, screen: Console
) -> Bench:
    screen.print(f"building or reusing the environment of {arguments.base}", soft_wrap=True)
    python = environment_for(arguments.base)
    root = cache_root() / "bisect"
    # Its own folder: another bisect may be looking up another model. A failure's log stays there.
    root.mkdir(parents=True, exist_ok=True)
    looked_up = Path(tempfile.mkdtemp(dir=root, prefix="source-"))
    request = replace(request_of(arguments), stack=arguments.base)
    context = new_context(request, looked_up, python, Scale(), warner(screen))
    shutil.rmtree(looked_up)
    rungs = tuple(r for r in RUNGS if r in {q.rung for q in asked})
    return Bench(
        arguments.base, python, context, root, rungs, wheels=wheels, limit_s=arguments.limit
    )


def search_range(
    arguments: argparse.Namespace,
    package: str,
    asked: Sequence[Question],
    span: Sequence[releases.Release],
    bench: Bench,
    screen: Console,
    fixed: Sequence[str] = (),
) -> dict[str, Any]:
    """Bisect one package's releases for all questions at once; explained answers by finding.

    fixed: requirements that every release is measured together with. Raises BadInput or
    NotRunnable where an end does not show what is claimed.
    """
    measured: dict[int, Measured] = {}
    outcomes: dict[int, Mapping[str, Outcome]] = {}
    last = len(span) - 1

    def wanted(position: int) -> list[str]:
        return [span[position].requirement(package), *fixed]

    def shown(position: int, again: str = "") -> Measured:
        begin = time.monotonic()
        found = bench.measure(wanted(position), again)
        took = f"{time.monotonic() - begin:.0f} s" if found.fresh else "kept"
        said = "; ".join(f"{q.finding}: {found.state(q).text[:90]}" for q in asked[:MOST_SHOWN])
        if len(asked) > MOST_SHOWN:
            said += f"; and {len(asked) - MOST_SHOWN} more"
        screen.print(
            f"  {package} {span[position].version} {again} {took}  {said}",
            soft_wrap=True,
            markup=False,
        )
        return found

    def measure(position: int) -> Measured:
        if position not in measured:
            measured[position] = shown(position)
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
        outcomes[position] = {
            q.finding: paired(q, position) if q in noisy else answer(q, found.state(q), *ends[q])
            for q in asked
        }
        return outcomes[position]

    def again(position: int) -> Mapping[str, Outcome]:
        found = shown(position, AGAIN)
        # A time was already taken several times.
        return {
            q.finding: outcomes[position][q.finding]
            if q in noisy
            else answer(q, found.state(q), *ends[q])
            for q in asked
        }

    def keep(positions: set[int]) -> None:
        # Every noisy metric is paired with the good end.
        bench.keep(measured[p] for p in (positions | {0} if noisy else positions))

    def paired(question: Question, position: int) -> Outcome:
        if position == 0:
            return Outcome(Answer.GOOD, "the end that the others are paired with")
        return bench.paired(wanted(0), wanted(position), question)

    try:
        found = search(
            len(span),
            [q.finding for q in asked],
            evaluate,
            monotonic=arguments.assume_monotonic,
            exhaustive=arguments.exhaustive,
            again=again if len(noisy) < len(asked) else None,
            keep=keep,
        )
    except EndError as error:
        raise NotRunnable(
            f"{error.finding}: {package} {span[error.position].version} is not shown to be "
            f"{error.wanted}: {error.outcome.reason}."
        ) from error
    versions = [str(r.version) for r in span]
    return {
        q.finding: {
            **explain(q, found[q.finding], versions, measured, bench, wanted),
            "repeated": q not in noisy,
        }
        for q in asked
    }


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


def show(document: dict[str, Any], arguments: argparse.Namespace, screen: Console) -> int:

    out = output_folder(arguments.out)
    write_json(out / "bisect.json", document)
    for name, text in (("report.html", page(document)), ("reproduce.sh", script(document))):
        write_atomically(out / name, text.encode("utf-8"))
    for line in sentences(document):
        screen.print(line, soft_wrap=True, markup=False)
    screen.print(f"report: {out / 'report.html'}", soft_wrap=True)
    if arguments.json:
        # The document's own schema is bisect.json's.
        emit({**document, "bisect_schema": document["schema"], "out": str(out)})
    return 0 if all(f.get("exact") for f in document["findings"].values()) else 3
