"""`golden check | list | update | calibrate`: goldens compared, shown and rewritten."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from harness.commands._arguments import (
    count,
    filled,
    json_option,
    path,
    source_options,
    stack_option,
)
from harness.commands._documents.goldens import Checked, GoldensListed, GoldensWritten
from harness.commands._documents.verdict import verdict_of
from harness.commands._measuring import python_of, request_of, rungs_named, warner
from harness.commands._screen import console, emit
from harness.commands._verdict import judged
from harness.errors import NotRunnable
from harness.judging.environments.identity import stack_label
from harness.judging.goldens.golden import BandKind, refuse_names
from harness.judging.goldens.listing import listed, stray
from harness.judging.goldens.observe import (
    conditions,
    observe,
    refuse_dirty,
    refuse_in_ci,
    refuse_truths,
)
from harness.judging.report.run.terminal import terminal
from harness.judging.workers.measure import measure, refuse_measured
from harness.judging.workers.resolve import Request, new_context
from harness.records.alone import alone
from harness.records.context import Scale
from harness.records.folders import GOLDEN, output_folder, refuse_installed
from harness.records.record import Record

ABOUT = "check, list, update, calibrate golden values"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Four verbs of its own."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=type(parser))

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")

    check = verb("check", "measure the CPU rungs and compare")
    listing = verb("list", "show provenance and unused files")
    update = verb("update", "rewrite observed values from one run")
    calibrate = verb("calibrate", "derive bands from n runs")
    for one in (update, calibrate):
        one.add_argument(
            "cases", type=filled, nargs="+", metavar="CASE", help="finding or metric ids"
        )
    update.add_argument(
        "--reason", type=filled, required=True, help="why the old value no longer holds"
    )
    calibrate.add_argument("--runs", type=count, default=10)
    calibrate.add_argument(
        "--reason", type=filled, default="calibrated", help="why it is (re)calibrated"
    )
    for one in (check, update, calibrate):
        stack_option(one)
        source_options(one)
        one.add_argument("--out", type=path, help="folder for the records")
    for one in (check, listing, update, calibrate):
        json_option(one)


@dataclass(frozen=True)
class Measuring:
    """What of a golden is measured. cases: finding or metric ids.
    runs: how often, under varied conditions; 1 is a single plain run."""

    request: Request
    out: Path | None
    cases: tuple[str, ...] = ()
    runs: int = 1
    reason: str = ""


def spec_of(arguments: argparse.Namespace) -> Measuring:
    """What `check`, `update` or `calibrate` measures."""
    if arguments.verb == "check":
        return Measuring(request_of(arguments), arguments.out)
    return Measuring(
        request_of(arguments),
        arguments.out,
        tuple(arguments.cases),
        arguments.runs if arguments.verb == "calibrate" else 1,
        arguments.reason,
    )


def execute(arguments: argparse.Namespace) -> int:
    """check, list, update, calibrate."""
    if arguments.verb == "list":
        return _list(as_json=arguments.json)
    spec = spec_of(arguments)
    if arguments.verb == "check":
        return _check(spec, as_json=arguments.json)
    return _observe(spec, calibrate=arguments.verb == "calibrate", as_json=arguments.json)


def _measured(spec: Measuring, rungs: list[str], out: Path) -> dict[str, Record]:
    screen = console()
    refuse_measured(out, rungs)
    python = python_of(spec.request.stack, screen)
    with alone(out):
        context = new_context(spec.request, out, python, Scale(), warner(screen))
        return measure(context, rungs, python, screen.print, locked=True)


def _calibrated(spec: Measuring, rungs: list[str]) -> list[dict[str, Record]]:
    """n runs under varied conditions, each in its own folder; an interrupted one goes on."""
    screen = console()
    python = python_of(spec.request.stack, screen)
    base = output_folder(spec.out)
    runs = []
    with alone(base):
        context = new_context(spec.request, base / "run0", python, Scale(), warner(screen))
        for i, condition in enumerate(conditions(spec.runs)):
            screen.print(f"run {i}: {condition.threads} threads {dict(condition.variables)}")
            mine = replace(context, out=base / f"run{i}", threads=condition.threads)
            runs.append(measure(mine, rungs, python, screen.print, variables=condition.variables))
    return runs


def _check(spec: Measuring, *, as_json: bool) -> int:
    out = output_folder(spec.out)
    judgement = judged(_measured(spec, rungs_named([]), out), out)
    terminal(judgement, console())
    if as_json:
        emit(Checked(**vars(verdict_of(judgement))))
    return judgement.exit_code


def _list(*, as_json: bool) -> int:
    """1 where a golden or a file is read by nothing. Raises NotRunnable where there is none."""
    rows, strays = listed(), stray()
    if not rows:
        raise NotRunnable(f"There is no golden in {GOLDEN}: nothing can be judged; install anew.")
    screen = console()
    for row in rows:
        flag = f"  UNUSED: {row.why}" if row.unused else ""
        band = row.band if row.band is BandKind.EXACT else f"{row.band} {row.limit:g}"
        screen.print(
            f"{row.path}  {row.cases} cases, {band}, from {row.origin}{flag}",
            soft_wrap=True,
            markup=False,
        )
    for file in strays:
        screen.print(f"{file.path}  STRAY: {file.why}", soft_wrap=True, markup=False)
    if as_json:
        emit(GoldensListed(rows, strays))
    return 1 if strays or any(row.unused for row in rows) else 0


def _observe(spec: Measuring, *, calibrate: bool, as_json: bool) -> int:
    refuse_installed("A golden")
    refuse_in_ci()
    refuse_names(stack_label(spec.request.stack))
    refuse_dirty()
    refuse_truths(spec.cases)
    rungs = rungs_named(sorted({case.split(".", 1)[0] for case in spec.cases}))
    if calibrate:
        runs = _calibrated(spec, rungs)
    else:
        runs = [_measured(spec, rungs, output_folder(spec.out))]
    paths = tuple(str(path) for path in observe(spec.cases, runs, spec.reason))
    console().print("\n".join(f"wrote {path}" for path in paths), soft_wrap=True)
    if as_json:
        emit(GoldensWritten(paths))
    return 0
