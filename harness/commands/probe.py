"""`harness probe`: measure rungs, write records, judge nothing."""

from __future__ import annotations

import argparse

from harness.commands._arguments import (
    filled,
    json_option,
    path,
    source_options,
    stack_option,
    training_option,
)
from harness.commands._documents.probed import Probed
from harness.commands._measuring import python_of, request_of, rungs_of, warner
from harness.commands._screen import console, emit
from harness.judging.workers.measure import died, measure, refuse_measured
from harness.judging.workers.resolve import new_context
from harness.records.alone import alone
from harness.records.context import Scale
from harness.records.folders import output_folder

MISSING = 3
ABOUT = "measure rungs and write records"


def arguments(parser: argparse.ArgumentParser) -> None:
    """RUNG…, --out, and what to measure on."""
    parser.add_argument(
        "rungs", type=filled, nargs="*", metavar="RUNG", help="all rungs by default"
    )
    parser.add_argument("--out", type=path, help="folder for the records (default: a new report)")
    stack_option(parser)
    source_options(parser)
    training_option(parser)
    json_option(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Measure rungs, write records, judge nothing; 3 where a rung's process died."""
    request = request_of(arguments)
    rungs = rungs_of(request, arguments.rungs)
    screen = console()
    out = output_folder(arguments.out)
    refuse_measured(out, rungs)
    python = python_of(arguments.stack, screen)
    with alone(out):
        context = new_context(request, out, python, Scale(), warner(screen))
        records = measure(context, rungs, python, screen.print, locked=True)
    screen.print(f"{len(records)} records in {out}", soft_wrap=True)
    if arguments.json:
        emit(Probed(str(out), records))
    # Nothing is judged, but a process that died has measured nothing.
    return MISSING if any(died(record) for record in records.values()) else 0
