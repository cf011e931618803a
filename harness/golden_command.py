"""`golden check | list | update | calibrate`: goldens compared, shown and rewritten."""

from __future__ import annotations

import argparse
from dataclasses import replace

from harness.commands import (
    judged,
    judgement_json,
    new_context,
    python_of,
    rungs_named,
)
from harness.context import Scale
from harness.judgement import Facts
from harness.record import Record
from harness.screen import console, emit


def golden_command(arguments: argparse.Namespace) -> int:
    """check, list, update, calibrate."""
    return {"check": _check, "list": _list, "update": _observe, "calibrate": _observe}[
        arguments.verb
    ](arguments)


def _measured(arguments: argparse.Namespace, rungs: list[str]) -> dict[str, Record]:
    from harness.runner import measure, refuse_measured
    from harness.session import output_folder

    screen = console()
    out = output_folder(arguments.out)
    refuse_measured(out, rungs)
    python = python_of(arguments.stack, screen)
    context = new_context(arguments, out, python, Scale())
    return measure(context, rungs, python, screen.print)


def _calibrated(arguments: argparse.Namespace, rungs: list[str]) -> list[dict[str, Record]]:
    """n runs under varied conditions, each in its own folder; an interrupted one goes on."""
    from harness.observe import conditions
    from harness.runner import measure
    from harness.session import output_folder

    screen = console()
    python = python_of(arguments.stack, screen)
    base = output_folder(arguments.out)
    context = new_context(arguments, base / "run0", python, Scale())
    runs = []
    for i, condition in enumerate(conditions(arguments.runs)):
        screen.print(f"run {i}: {condition.threads} threads {dict(condition.variables)}")
        mine = replace(context, out=base / f"run{i}", threads=condition.threads)
        runs.append(measure(mine, rungs, python, screen.print, variables=condition.variables))
    return runs


def _check(arguments: argparse.Namespace) -> int:
    from harness.report import terminal

    judgement = judged(_measured(arguments, rungs_named([])))
    terminal(judgement, console())
    if arguments.json:
        emit(judgement_json(judgement))
    return judgement.exit_code


def _list(arguments: argparse.Namespace) -> int:
    """1 where a golden or a file is read by nothing."""
    from harness.golden_list import listed, stray

    rows, strays = listed(), stray()
    screen = console()
    for row in rows:
        flag = f"  UNUSED: {row['why']}" if row["unused"] else ""
        band = row["band"] if row["band"] == "exact" else f"{row['band']} {row['limit']:g}"
        screen.print(
            f"{row['path']}  {row['cases']} cases, {band}, from {row['origin']}{flag}",
            soft_wrap=True,
            markup=False,
        )
    for file in strays:
        screen.print(f"{file['path']}  STRAY: {file['why']}", soft_wrap=True, markup=False)
    if arguments.json:
        emit({"goldens": rows, "stray": strays})
    return 1 if strays or any(row["unused"] for row in rows) else 0


def _observe(arguments: argparse.Namespace) -> int:
    from harness.observe import observe, refuse_dirty, refuse_truths

    refuse_dirty()
    refuse_truths(arguments.cases, Facts.family)
    rungs = rungs_named(sorted({case.split(".", 1)[0] for case in arguments.cases}))
    if arguments.verb == "calibrate":
        runs = _calibrated(arguments, rungs)
    else:
        runs = [_measured(arguments, rungs)]
    paths = [str(path) for path in observe(arguments.cases, runs, arguments.reason)]
    console().print("\n".join(f"wrote {path}" for path in paths), soft_wrap=True)
    if arguments.json:
        emit({"written": paths})
    return 0
