"""`harness compare OLD NEW`: its arguments as a frozen spec, one call, its answer shown."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from harness.commands._arguments import (
    Given,
    explained,
    filled,
    path,
    seconds,
    source_options,
    training_option,
    verdict_options,
)
from harness.commands._ci import Outputs, outputs_to
from harness.commands._comparing import measured, shown
from harness.commands._documents.compared import Compared
from harness.commands._help import COMPARE
from harness.commands._measuring import request_of, rungs_of, warner
from harness.commands._screen import console, emit
from harness.judging.compare.plan import (
    folder_of,
    forget_dead,
    refuse_early,
    resume_command,
)
from harness.judging.compare.preparing import sides_of
from harness.judging.compare.sides import parse_rungs
from harness.judging.compare.spec import CompareSpec
from harness.judging.goldens.accepted import read_accepted
from harness.judging.report.ci.compared import of_comparison
from harness.records.alone import alone

ABOUT = "two stacks on the whole ladder: what moved, why"


def arguments(parser: argparse.ArgumentParser) -> None:
    """OLD, NEW, the rungs, and what to measure on."""
    explained(parser, COMPARE)
    add = parser.add_argument
    add("old", type=filled, metavar="OLD", help="a stack, or a directory of records (has a /)")
    add("new", type=filled, metavar="NEW", help="the same")
    add(
        "--rungs",
        type=filled,
        action="append",
        help="e.g. 2-9 or text,ids; may be repeated (default: all)",
    )
    add("--resume", type=filled, metavar="DIR", help="go on with an interrupted comparison")
    add("--out", type=path, help="its folder (default: a new one in reports/)")
    add(
        "--offline",
        action=Given,
        nargs=0,
        const=True,
        default=False,
        help="build from uv's cache only",
    )
    add(
        "--limit",
        action=Given,
        type=seconds,
        default=1800.0,
        metavar="SECONDS",
        help="for one rung (default 1800)",
    )
    source_options(parser)
    training_option(parser)
    verdict_options(parser)


def spec_of(arguments: argparse.Namespace) -> CompareSpec:
    """What is asked. Raises BadInput for a rung or an accept file that is none."""
    request = request_of(arguments)
    named = parse_rungs(",".join(arguments.rungs)) if arguments.rungs else ()
    return CompareSpec(
        old=arguments.old,
        new=arguments.new,
        request=request,
        rungs=tuple(rungs_of(request, named)),
        rungs_named=bool(arguments.rungs),
        options=tuple(arguments.given),
        limit_s=arguments.limit,
        accepted=read_accepted(arguments.accept),
        out=arguments.out,
        resume=arguments.resume or "",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Measure both sides, find causes, explain, show; the exit code of the contract."""
    spec = spec_of(arguments)
    if arguments.offline:
        os.environ["UV_OFFLINE"] = "1"
    refuse_early(spec)
    outputs = outputs_to(arguments.junit, arguments.summary)
    out = folder_of(spec)
    with alone(out):
        return _compare(spec, out, outputs, as_json=arguments.json)


def _compare(spec: CompareSpec, out: Path, outputs: Outputs, *, as_json: bool) -> int:
    """The comparison itself, in a folder that nobody else writes into."""
    if spec.resume:
        forget_dead(out)
    screen = console()
    sides = sides_of(spec, out, warner(screen))
    try:
        comparison = measured(spec, sides, out, screen)
    except KeyboardInterrupt:
        again = resume_command(spec, out)
        screen.print(f"interrupted; go on with: {again}", soft_wrap=True, markup=False)
        return 130
    document = shown(comparison, out, screen)
    outputs.write(of_comparison(comparison), screen)
    screen.print(f"report: {out / 'report.html'}", soft_wrap=True)
    if as_json:
        emit(Compared(**vars(document), out=str(out)))
    return comparison.exit_code
