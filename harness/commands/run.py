"""`harness run`: every probe, a short training, generation, verdict and report."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from harness.commands._arguments import (
    count,
    filled,
    path,
    source_options,
    stack_option,
    verdict_options,
)
from harness.commands._ci import Outputs, outputs_to
from harness.commands._documents.ran import Ran
from harness.commands._documents.verdict import verdict_of
from harness.commands._measuring import python_of, request_of, rungs_named, warner
from harness.commands._screen import Screen, console, emit, to_json
from harness.commands._verdict import judged
from harness.errors import BadInput
from harness.judging.environments.identity import stack_label
from harness.judging.goldens.accepted import read_accepted
from harness.judging.goldens.second import again_folder, noisy_rungs
from harness.judging.report.ci.outcomes import of_judgement
from harness.judging.report.run.page import render
from harness.judging.report.run.terminal import terminal
from harness.judging.workers.measure import forget_dead_rungs, measure, refuse_measured
from harness.judging.workers.resolve import Request, new_context
from harness.judging.workers.watch import watching
from harness.records.alone import alone
from harness.records.beside import SUMMARY_SCHEMA, summary_path, write_summary
from harness.records.context import (
    Context,
    Scale,
    context_path,
    read_context,
    write_context,
)
from harness.records.folders import REPORTS, existing_run, output_folder

ABOUT = "probes, a short training, generation, verdict, report"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The training's size, what to resume, the recipe, and what to measure on."""
    add = parser.add_argument
    add("--max-steps", type=count, help="optimizer steps (default: by the model)")
    add("--micro-batch", type=count, help="samples per forward (default: by the model)")
    add("--accumulation", type=count, help="micro-batches per optimizer step")
    add("--full", action="store_true", help="the recipe's own three epochs")
    add("--resume", type=filled, metavar="ID", help="go on with an interrupted run")
    add("--out", type=path, help="the run's folder (default: a new one in reports/)")
    stack_option(parser)
    source_options(parser)
    verdict_options(parser)


@dataclass(frozen=True)
class RunSpec:
    """What a run was asked for. resume: the name of an earlier run to go on with, else ``."""

    request: Request
    scale: Scale
    accepted: frozenset[str]
    out: Path | None
    resume: str
    as_json: bool
    outputs: Outputs


def spec_of(arguments: argparse.Namespace) -> RunSpec:
    """What is asked. Raises BadInput for an accept file that is none."""
    scale = Scale(
        max_steps=arguments.max_steps,
        micro_batch=arguments.micro_batch,
        accumulation=arguments.accumulation,
        full=arguments.full,
    )
    return RunSpec(
        request_of(arguments),
        scale,
        read_accepted(arguments.accept),
        arguments.out,
        arguments.resume or "",
        arguments.json,
        outputs_to(arguments.junit, arguments.summary),
    )


def execute(arguments: argparse.Namespace) -> int:
    """All probes for this device, training and generation among them, verdict and report."""
    spec = spec_of(arguments)
    screen = console()
    if spec.resume:
        out = existing_run(spec.resume)
    else:
        out = output_folder(spec.out)
        refuse_measured(out, rungs_named([]), resumes=True)
    python = python_of(spec.request.stack, screen)
    with alone(out):
        return _run(spec, out, python, screen)


def _run(spec: RunSpec, out: Path, python: Path, screen: Screen) -> int:
    """The run itself, in a folder that nobody else writes into."""
    if spec.resume:
        context = _resumed(out, spec.request.stack)
    else:
        context = new_context(spec.request, out, python, spec.scale, warner(screen))
        write_context(context)
    screen.print(
        f"model {context.model}, data {context.data}, stack {context.stack}; results in {out}",
        soft_wrap=True,
    )
    try:
        rungs = rungs_named([])
        with watching(out, rungs, screen) as tick:
            records = measure(context, rungs, python, screen.print, tick=tick, locked=True)
    except KeyboardInterrupt:
        name = out.name if out.parent == REPORTS else out
        screen.print(f"interrupted; go on with: harness run --resume {name}", soft_wrap=True)
        return 130
    judgement = judged(records, out, spec.accepted)
    if noisy := noisy_rungs(judgement):
        screen.print(f"a second look, alone, at what may be noise: {', '.join(noisy)}")
        measure(replace(context, out=again_folder(out)), noisy, python, screen.print)
        judgement = judged(records, out, spec.accepted)
    document = Ran(run=out.name, context=context, **vars(verdict_of(judgement)))
    write_summary(to_json(replace(document, schema=SUMMARY_SCHEMA)), out)
    page = render(out, records, judgement, out / "report.html")
    terminal(judgement, screen)
    spec.outputs.write(of_judgement(judgement), screen)
    screen.print(f"report: {page}", soft_wrap=True)
    if spec.as_json:
        emit(document)
    return judgement.exit_code


def _resumed(out: Path, stack: str) -> Context:
    started = context_path(out)
    if not started.is_file():
        raise BadInput(f"The run {out} ended before it measured anything; start a new one.")
    context = read_context(started)
    # What it sealed is about to be measured anew.
    summary_path(out).unlink(missing_ok=True)
    forget_dead_rungs(out)
    if stack_label(stack) != context.stack:
        raise BadInput(
            f"The run {out.name} was started on the stack {context.stack}; resume it there."
        )
    return replace(context, out=out)
