"""`harness power`: what a green verdict would have seen, by planted faults of graded size."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.commands._arguments import (
    filled,
    json_option,
    path,
    source_options,
    stack_option,
)
from harness.commands._documents.powered import Powered
from harness.commands._measuring import python_of, request_of, rungs_named, warner
from harness.commands._screen import console, emit
from harness.errors import BadInput
from harness.judging.environments.identity import stack_label
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens, refuse_names
from harness.judging.goldens.judgement import Judgement, facts_of
from harness.judging.goldens.power import goldens_digest, refuse_fewer, sentence
from harness.judging.goldens.verdicts import judge
from harness.judging.workers.planting import search
from harness.judging.workers.resolve import Request, new_context
from harness.records.alone import alone
from harness.records.context import Context, Scale, context_path, read_context, write_context
from harness.records.folders import existing_run, output_folder
from harness.records.power import QUANTITIES, PowerTable, Worth, power_path, write_power
from harness.records.record import Record

ABOUT = "what a green verdict would have seen, by planted faults of graded size"


def arguments(parser: argparse.ArgumentParser) -> None:
    """RUNG…, --write, and what to measure on."""
    parser.add_argument("rungs", type=filled, nargs="*", metavar="RUNG", help="rungs with faults")
    parser.add_argument("--out", type=path, help="folder for the records (default: a new report)")
    parser.add_argument(
        "--resume", type=filled, metavar="ID", help="go on with an interrupted search"
    )
    parser.add_argument(
        "--write", action="store_true", help="into golden/power, which verdicts quote"
    )
    stack_option(parser)
    source_options(parser)
    json_option(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Plant, measure, bisect; print the table, and keep it where asked to.

    Raises BadInput for a rung without a graded fault, where a table of fewer rungs would replace
    one, and for a search that is there already or cannot go on.
    """
    request = request_of(arguments)
    rungs = rungs_named(arguments.rungs)
    quantities = [q for q in QUANTITIES if q.rung in rungs]
    if not quantities:
        raise BadInput(f"No graded fault is planted at {', '.join(rungs)}; leave the rungs out.")
    if arguments.write:
        refuse_fewer(stack_label(request.stack), quantities)
    screen = console()
    resume = arguments.resume or ""
    out = existing_run(resume).resolve() if resume else output_folder(arguments.out)
    python = python_of(request.stack, screen)
    with alone(out):
        context = _resumed(out, request.stack) if resume else _begun(request, out, python, screen)
        refuse_names(context.stack)
        goldens = read_goldens()
        expected = read_expected(
            context.stack.split(",", 1)[0], recipe=context.recipe.name, family=context.family
        )

        def judged(records: Mapping[str, Record]) -> Judgement:
            return judge(records, goldens, expected)

        try:
            seen, plain = search(context, quantities, judged, python, screen.print)
        except KeyboardInterrupt:
            again = f"harness power --stack {request.stack} --resume {out}"
            screen.print(f"interrupted; go on with: {again}", soft_wrap=True)
            return 130
    at = plain.provenance
    facts = facts_of({plain.rung: plain})
    table = PowerTable(
        stack=facts.stack,
        device_key=facts.device_key,
        model=facts.model,
        model_digest=at.model_digest,
        recipe=facts.recipe,
        goldens=goldens_digest(goldens, expected, facts, seen),
        commit=at.commit,
        created=at.created,
        seen=seen,
        versions=dict(at.versions),
    )
    kept = power_path(facts.device_key, facts.stack)
    if arguments.write:
        write_power(table, kept)
        screen.print(f"written: {kept}", soft_wrap=True)
    screen.print(_shown(table))
    screen.print(sentence(Worth(table), table.device_key), soft_wrap=True)
    if arguments.json:
        emit(Powered(**vars(table)))
    return 0


def _begun(request: Request, out: Path, python: Path, screen: Console) -> Context:
    """The context of a new search. Raises BadInput where the folder holds one already."""
    if context_path(out).is_file():
        raise BadInput(f"{out} holds a search already; give --resume {out} to go on with it.")
    context = new_context(request, out, python, Scale(), warner(screen))
    write_context(context)
    return context


def _resumed(out: Path, stack: str) -> Context:
    """The context that an interrupted search began with. Raises BadInput where it began none, or
    one of another stack."""
    if not context_path(out).is_file():
        raise BadInput(f"{out} ended before it measured anything; start a new search.")
    context = replace(read_context(context_path(out)), out=out)
    if context.stack != stack_label(stack):
        raise BadInput(f"{out} was begun with {context.stack}; resume it with that --stack.")
    return context


def _shown(table: PowerTable) -> Table:
    shown = Table("rung", "what", "smallest reported", "largest not", "unit", "first finding")
    words = {q.name: q for q in QUANTITIES}
    for seen in table.seen:
        quantity = words[seen.quantity]
        size = "not reported" if seen.reported is None else f"{seen.reported:.2g}"
        if seen.red_without:
            size += " (red without, too)"
        shown.add_row(
            seen.rung,
            quantity.words,
            size,
            f"{seen.unseen:.2g}",
            quantity.unit,
            seen.finding,
        )
    return shown
