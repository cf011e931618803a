"""`harness matrix`: its arguments as a frozen spec, one call, its answer shown."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.commands._arguments import (
    count,
    explained,
    filled,
    json_option,
    output_options,
    path,
    seconds,
)
from harness.commands._ci import Outputs, outputs_to
from harness.commands._documents.matrix import MatrixForecast, MatrixMeasured
from harness.commands._help import MATRIX
from harness.commands._screen import console, emit
from harness.errors import BadInput
from harness.judging.goldens.accepted import read_accepted
from harness.judging.matrix.forecast import Forecast, duration
from harness.judging.matrix.run import Begun, How, begin, measured, table_of
from harness.judging.matrix.spec import DEVICES, Asked, MatrixSpec, read_asked, spec_of
from harness.judging.report.matrix.page import draw, write_matrix
from harness.judging.report.matrix.verdicts import of_matrix
from harness.judging.workers.engines import engines
from harness.records.alone import alone
from harness.records.folders import output_folder

ABOUT = "stacks × families or trainings, cell by cell, on one machine or many"


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    spec: MatrixSpec
    how: How
    out: Path | None
    accepted: frozenset[str]
    outputs: Outputs
    is_forecast: bool
    as_json: bool


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, or the same by options."""
    explained(parser, MATRIX)
    add = parser.add_argument
    add("file", type=path, nargs="?", metavar="FILE", help="a TOML file; options go before it")
    add("--stack", type=filled, action="append", default=[], help="may be repeated, in order")
    add("--family", type=filled, action="append", default=[], help="its tiny model; repeatable")
    add("--model", type=filled, action="append", default=[], help="another model; repeatable")
    add(
        "--training",
        type=filled,
        action="append",
        default=[],
        metavar="FILE[:FUNCTION]",
        help="your own training; repeatable",
    )
    add("--recipe", type=filled, action="append", default=[], help="reference; repeatable")
    add("--device", action="append", default=[], choices=DEVICES, help="cpu (default); repeatable")
    add("--rungs", type=filled, help="e.g. 2-9 or text,ids (default: 2-10)")
    add("--metric", type=filled, action="append", default=[], help="a timeline; repeatable")
    add("--threads", type=count, default=0, help="CPU threads of one cell (default 1)")
    add("--limit", type=seconds, default=0.0, metavar="SECONDS", help="of a cell (default 1800)")
    add("--engine", default="local", choices=engines(), help="where cells run (default: local)")
    add("--engine-option", type=filled, action="append", default=[], metavar="NAME=VALUE")
    add(
        "--workers",
        type=count,
        default=0,
        help="cells at once (default: by cores and memory, 16 elsewhere)",
    )
    add("--disk", type=count, default=0, metavar="GB", help="bound of the environments it builds")
    add("--again", action="store_true", help="measure again what died or does not run")
    add("--offline", action="store_true", help="build from uv's cache only")
    add("--dry-run", action="store_true", help="say what it would take; measure nothing")
    add("--out", type=path, help="its folder (default: a new one in reports/)")
    add("--accept", type=path, help="file of finding ids that don't raise the code")
    output_options(parser)
    json_option(parser)


def spec_of_words(asked: Asked, file: Path | None) -> MatrixSpec:
    """The matrix of a file and of options, which go before it."""
    return spec_of(asked.over(read_asked(file)) if file else asked)


def execute(arguments: argparse.Namespace) -> int:
    """Measure what is not kept, judge, show; the exit code of the contract."""
    words = arguments
    asked = Asked(
        tuple(words.stack),
        tuple(words.family),
        tuple(words.model),
        tuple(words.training),
        tuple(words.recipe),
        tuple(words.device),
        words.rungs or "",
        tuple(words.metric),
        words.threads,
        words.limit,
    )
    options = dict(map(_option, words.engine_option))
    how = How(words.engine, words.workers, words.disk * 10**9, words.again, options)
    if words.offline:
        os.environ["UV_OFFLINE"] = "1"
    wanted = Wanted(
        spec_of_words(asked, words.file),
        how,
        words.out,
        read_accepted(words.accept),
        outputs_to(words.junit, words.summary),
        words.dry_run,
        words.json,
    )
    begun = begin(wanted.spec, wanted.how)
    screen = console()
    return _forecast(begun, screen, wanted) if wanted.is_forecast else _run(begun, screen, wanted)


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise BadInput(f"--engine-option {text!r} is not NAME=VALUE, as partition=gpu.")
    return name, value


def _forecast(begun: Begun, screen: Console, wanted: Wanted) -> int:
    told = begun.forecast()
    for line in forecast_lines(told, begun.workers, begun.how.disk_bytes):
        screen.print(line, soft_wrap=True)
    if wanted.as_json:
        emit(MatrixForecast(told, begun.workers))
    return 0


def forecast_lines(told: Forecast, workers: int, bound: int) -> list[str]:
    """What `--dry-run` says."""
    lines = [f"{told.cells} cells, {told.kept} kept, {len(told.todo)} to measure:"]
    lines += [f"  {title}" for title in told.todo]
    lines += [f"{len(told.environments)} environments, {len(told.to_build)} to build:"]
    lines += [f"  {label}" for label in told.to_build]
    disk = f"{told.disk_bytes / 1e9:.0f} GB of disk at most, {told.free_bytes / 1e9:.0f} GB free"
    lines.append(f"{disk}; --disk {bound // 10**9} bounds it" if bound else disk)
    guess = f", {told.guessed} cells by a guess" if told.guessed else ""
    lines.append(f"about {duration(told.seconds)} with {workers} at once{guess}")
    return lines


def _run(begun: Begun, screen: Console, wanted: Wanted) -> int:
    out = output_folder(wanted.out)
    with alone(out):
        try:
            outcomes = measured(begun, out, lambda line: screen.print(line, soft_wrap=True))
        except KeyboardInterrupt:
            screen.print("interrupted; the same command goes on where it was", soft_wrap=True)
            return 130
        table = table_of(begun, outcomes, wanted.accepted, draw, out)
        page = write_matrix(table, out)
    screen.print(table.headline, soft_wrap=True)
    wanted.outputs.write(of_matrix(table), screen)
    screen.print(f"report: {page}", soft_wrap=True)
    if wanted.as_json:
        answer = (table.headline, table.exit_code)
        emit(MatrixMeasured(*answer, **vars(table), out=str(out)))
    return table.exit_code
