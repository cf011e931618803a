"""What each command does, as short functions from parsed arguments to an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.accepted import read_accepted
from harness.compare import judge
from harness.context import Context, Scale, context_to_json, read_context
from harness.errors import BadInput
from harness.golden import read_expected, read_goldens
from harness.judgement import Judgement
from harness.recipe import variant
from harness.record import RUNGS, Record, to_json, write_json
from harness.screen import JSON_SCHEMA, console, emit


def python_of(stack: str, screen: Console) -> Path:
    """The Python of a stack's environment, built if need be."""
    from harness.environments import environment_for

    if stack == "current":
        return Path(sys.executable)
    screen.print(f"building or reusing the environment of {stack}")
    return environment_for(stack)


def stack_label(stack: str) -> str:
    from harness.session import installed_stack

    return installed_stack() if stack == "current" else stack


def new_context(arguments: argparse.Namespace, out: Path, python: Path, scale: Scale) -> Context:
    """Resolve the model inside the stack and freeze the run's context."""
    from harness.runner import resolve_model
    from harness.session import build_context, check_data_and_model

    check_data_and_model(arguments.model, arguments.data)
    found = resolve_model(
        python, arguments.model, arguments.data, out, arguments.threads or 2, arguments.device
    )
    if found["pairs"]:
        console().print(f"warning: {found['pairs']}", markup=False, soft_wrap=True)
    return build_context(
        stack=stack_label(arguments.stack),
        model=str(found["name"]),
        data=arguments.data,
        out=out,
        snapshot=Path(str(found["snapshot"])),
        has_weights=bool(found["has_weights"]),
        model_digest=str(found["digest"]),
        vocabulary=str(found["vocabulary"]),
        device=arguments.device,
        scale=scale,
        recipe=variant(getattr(arguments, "recipe", "reference")),
        threads=arguments.threads,
    )


def rungs_named(names: list[str]) -> list[str]:
    """The rungs of those names in ladder order, all for none. Raises BadInput for an unknown."""
    from harness.probes import available

    unknown = [name for name in names if name not in RUNGS]
    if unknown:
        raise BadInput(f"There is no rung {unknown[0]!r}; choose from {', '.join(available())}.")
    return [rung for rung in available() if not names or rung in names]


def judged(records: Mapping[str, Record], accepted: frozenset[str] = frozenset()) -> Judgement:
    """Judge records against the committed goldens and the stack's expected findings."""
    stack = next(iter(records.values())).provenance.stack.split(",", 1)[0]
    return judge(records, read_goldens(), read_expected(stack), accepted=accepted)


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement as JSON-ready dicts."""
    return {
        "headline": judgement.headline,
        "exit_code": judgement.exit_code,
        "facts": asdict(judgement.facts),
        "unmeasured": list(judgement.unmeasured),
        "stale_accepts": list(judgement.stale_accepts),
        "items": [asdict(item) for item in judgement.items],
    }


def doctor(arguments: argparse.Namespace) -> int:
    """Inspect, name each lack and its mend."""
    from harness.doctor import doctor as inspect

    return inspect(arguments.stack, require_cuda=arguments.require_cuda, as_json=arguments.json)


def probe(arguments: argparse.Namespace) -> int:
    """Measure rungs, write records, judge nothing."""
    from harness.runner import measure, refuse_measured
    from harness.session import output_folder

    rungs = rungs_named(arguments.rungs)
    screen = console()
    out = output_folder(arguments.out)
    refuse_measured(out, rungs)
    python = python_of(arguments.stack, screen)
    context = new_context(arguments, out, python, Scale())
    records = measure(context, rungs, python, screen.print)
    screen.print(f"{len(records)} records in {out}", soft_wrap=True)
    if arguments.json:
        emit({"out": str(out), "records": {r: to_json(record) for r, record in records.items()}})
    return 0


def run(arguments: argparse.Namespace) -> int:
    """All probes for this device, training and generation among them, verdict and report."""
    from harness.report import render, terminal
    from harness.runner import measure, refuse_measured
    from harness.session import REPORTS, existing_run, output_folder
    from harness.watch import watching

    screen = console()
    accepted = read_accepted(arguments.accept)
    if arguments.resume:
        out = existing_run(arguments.resume)
    else:
        out = output_folder(arguments.out)
        refuse_measured(out, rungs_named([]))
    python = python_of(arguments.stack, screen)
    context = _resumed(out, arguments) if arguments.resume else None
    if context is None:
        scale = Scale(
            max_steps=arguments.max_steps,
            micro_batch=arguments.micro_batch,
            accumulation=arguments.accumulation,
            full=arguments.full,
        )
        context = new_context(arguments, out, python, scale)
        write_json(out / "work" / "context.json", context_to_json(context))
    screen.print(
        f"model {context.model}, data {context.data}, stack {context.stack}; results in {out}",
        soft_wrap=True,
    )
    try:
        rungs = rungs_named([])
        with watching(out, rungs, screen) as tick:
            records = measure(context, rungs, python, screen.print, tick=tick)
    except KeyboardInterrupt:
        name = out.name if out.parent == REPORTS else out
        screen.print(f"interrupted; go on with: harness run --resume {name}", soft_wrap=True)
        return 130
    judgement = judged(records, accepted)
    document = {"run": out.name, "context": context_to_json(context), **judgement_json(judgement)}
    write_json(out / "run.json", {"schema": JSON_SCHEMA, **document})
    page = render(out, judgement, out / "report.html")
    terminal(judgement, screen)
    screen.print(f"report: {page}", soft_wrap=True)
    if arguments.json:
        emit(document)
    return judgement.exit_code


def _resumed(out: Path, arguments: argparse.Namespace) -> Context:
    from harness.runner import forget_dead_rungs

    started = out / "work" / "context.json"
    if not started.is_file():
        raise BadInput(f"The run {out} ended before it measured anything; start a new one.")
    context = read_context(started)
    forget_dead_rungs(out)
    if stack_label(arguments.stack) != context.stack:
        raise BadInput(
            f"The run {out.name} was started on the stack {context.stack}; resume it there."
        )
    return replace(context, out=out)


def report(arguments: argparse.Namespace) -> int:
    """Render existing records; re-judges, measures nothing."""
    from harness.report_command import report_command

    return report_command(arguments)


def golden(arguments: argparse.Namespace) -> int:
    """check, list, update, calibrate."""
    from harness.golden_command import golden_command

    return golden_command(arguments)


def compare(arguments: argparse.Namespace) -> int:
    """Two stacks, or directories of records, on the whole ladder."""
    from harness.compare_command import compare_command

    return compare_command(arguments)


def bisect(arguments: argparse.Namespace) -> int:
    """Which release of a package moved a metric."""
    from harness.bisect_command import bisect_command

    return bisect_command(arguments)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "doctor": doctor,
    "probe": probe,
    "run": run,
    "compare": compare,
    "bisect": bisect,
    "report": report,
    "golden": golden,
}
