"""`harness bisect`: its arguments as a frozen spec, one call, its answer shown."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.commands._arguments import (
    explained,
    filled,
    json_option,
    path,
    seconds,
    source_options,
    training_option,
)
from harness.commands._documents.bisected import Bisected
from harness.commands._help import BISECT
from harness.commands._measuring import request_of, warner
from harness.commands._screen import console, emit
from harness.errors import BadInput
from harness.judging.bisect.answers import BISECT as BISECT_FILE
from harness.judging.bisect.answers import Bisection, write_bisection
from harness.judging.bisect.from_compare import bisect_comparison
from harness.judging.bisect.range import bisect_range
from harness.judging.bisect.spec import (
    ComparisonSpec,
    RangeSpec,
    Search,
    questions,
    relative_band,
)
from harness.judging.report.bisect.page import page, sentences
from harness.judging.report.bisect.reproduce import script
from harness.records.alone import alone
from harness.records.files import write_atomically
from harness.records.folders import output_folder

ABOUT = "which release of a package changed it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What moved, between which ends, and what to measure on."""
    explained(parser, BISECT)
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
    training_option(parser)


def spec_of(arguments: argparse.Namespace) -> RangeSpec | ComparisonSpec:
    """What is asked. Raises BadInput where the words do not go together, or something is missing
    of them."""
    search = Search(
        request=replace(request_of(arguments), stack=arguments.base),
        limit_s=arguments.limit,
        monotonic=arguments.assume_monotonic,
        exhaustive=arguments.exhaustive,
    )
    band = relative_band(arguments.band)
    findings = tuple(arguments.finding or ())
    if arguments.from_compare:
        # What the comparison itself says, or a bisect of one cannot do.
        for name in ("package", "good", "bad", "metric", "wheels", "pre", "yanked"):
            if getattr(arguments, name):
                word = "PACKAGE" if name == "package" else f"--{name}"
                raise BadInput(
                    f"{word} does not go with --from-compare, which takes packages, releases and "
                    "values from the comparison; leave it out."
                )
        return ComparisonSpec(Path(arguments.from_compare), findings, search, band)
    if not (arguments.package and arguments.good and arguments.bad):
        raise BadInput("Give PACKAGE, --good and --bad, or --from-compare DIR.")
    return RangeSpec(
        package=arguments.package,
        good=arguments.good,
        bad=arguments.bad,
        questions=questions(findings, arguments.metric or (), band),
        search=search,
        wheels=arguments.wheels,
        pre=arguments.pre,
        yanked=arguments.yanked,
    )


def execute(arguments: argparse.Namespace) -> int:
    """Find the release; 0 found exactly, 3 a range or nothing could be decided."""
    # Before hours of measuring, not after them.
    out = output_folder(arguments.out)
    if (out / BISECT_FILE).exists():
        raise BadInput(f"{out} holds a bisect already; give another --out, or remove it.")
    spec = spec_of(arguments)
    screen = console()
    say = warner(screen)
    with alone(out):
        if isinstance(spec, ComparisonSpec):
            bisection = bisect_comparison(spec, say)
        else:
            bisection = bisect_range(spec, say)
        show(bisection, out, screen)
    if arguments.json:
        emit(Bisected(**vars(bisection), out=str(out)))
    return bisection.exit_code


def show(bisection: Bisection, out: Path, screen: Console) -> None:
    """Write its page, its script and last the answer, which says that all is there; say it."""
    for name, text in (("report.html", page(bisection)), ("reproduce.sh", script(bisection))):
        write_atomically(out / name, text.encode("utf-8"))
    write_bisection(bisection, out)
    for line in sentences(bisection):
        screen.print(line, soft_wrap=True, markup=False)
    screen.print(f"report: {out / 'report.html'}", soft_wrap=True)
