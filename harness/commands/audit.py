"""`harness audit`: walk the ladder over a user's own Trainer."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from harness.commands._arguments import (
    count,
    explained,
    json_option,
    output_options,
    path,
    seconds,
    stack_option,
    threads,
    training_file,
)
from harness.commands._ci import Outputs, outputs_to
from harness.commands._documents.audited import Audited
from harness.commands._measuring import python_of
from harness.commands._screen import console, emit
from harness.errors import BadInput
from harness.judging.audit.asking import AuditSpec, ask, rungs, user_training
from harness.judging.audit.golden import (
    GoldenJudgement,
    already_kept,
    compare,
    golden_path,
    keep,
    read,
)
from harness.judging.audit.judge import judge
from harness.judging.goldens.observe import refuse_in_ci
from harness.judging.report.audit.kept import golden_lines, print_golden, since_kept
from harness.judging.report.audit.page import render
from harness.judging.report.audit.terminal import terminal
from harness.judging.report.audit.view import verdict_of
from harness.judging.report.ci.audited import of_audit
from harness.judging.workers.watch import watching
from harness.records.alone import alone
from harness.records.audit import audit_path
from harness.records.folders import output_folder, writable
from harness.records.sets import finish_set

ABOUT = "walk the ladder over your own Trainer"
LIMIT_S = 900.0
HELP = """\
FILE is a training script. Where it defines make_trainer() (or FILE:FUNCTION), that function is
called and returns the Trainer, or a dict with model, train_dataset, data_collator and args. Any
other script is run up to its Trainer.train() (or accelerator.backward()), which is not called.

Nothing is trained for good: a few optimizer steps are taken and undone; the output folder,
reports, pushes, checkpoints and callbacks are off, and the verdict names what was.

--keep makes this audit the training's golden, in golden/audits beside FILE: later audits say what
has moved since, and end with 1 where something has. To replace it give a --reason. In CI, where CI
is set, none is kept.

  harness audit train.py
  harness audit train.py --python .venv/bin/python
  harness audit train.py:make_trainer --loss-on assistant
  harness audit train.py --keep
  harness audit sft_vlm.py -- --model_name_or_path ./model --bf16
"""


@dataclass(frozen=True)
class Request:
    """What was asked: the audit, where to. golden: the training's own, there or
    not; keep, reason: whether this audit becomes it, and why."""

    spec: AuditSpec
    out: Path | None
    as_json: bool
    golden: Path
    keep: bool
    reason: str
    outputs: Outputs


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, the environment, the size, what the loss is meant for."""
    add = parser.add_argument
    add("training", type=training_file, metavar="FILE[:FUNCTION]", help="the script that trains")
    add("words", type=str, nargs="*", metavar="-- ARG", help="the script's own arguments")
    add("--python", type=path, help="the interpreter of an environment with your libraries")
    add("--steps", type=count, default=2, help="optimizer steps at most (default 2)")
    add(
        "--loss-on",
        choices=("all", "assistant", "completion"),
        default="",
        help="what is meant to be trained on, where your settings do not say it",
    )
    add("--threads", type=threads, default=min(2, os.cpu_count() or 1), help="CPU threads")
    add("--limit", type=seconds, default=LIMIT_S, help="seconds for opening, and for each rung")
    add("--out", type=path, help="folder for the audit (default: a new one in reports/)")
    add("--keep", action="store_true", help="keep this audit as the training's golden")
    add("--reason", default="", metavar="TEXT", help="why an audit that was kept is replaced")
    add("--golden", type=path, metavar="DIR", help="the folder of goldens")
    stack_option(parser)
    json_option(parser)
    output_options(parser)
    explained(parser, HELP)


def request_of(arguments: argparse.Namespace) -> Request:
    """Raises BadInput for two environments, and for a golden that cannot be read or kept."""
    if arguments.python and arguments.stack != "current":
        raise BadInput("--python and --stack name two environments; give one of them.")
    file, function = arguments.training
    training = user_training(
        file, function, arguments.words, steps=arguments.steps, loss_on=arguments.loss_on
    )
    # Known by what is installed there, as any other verb knows it.
    stack = f"python:{arguments.python}" if arguments.python else arguments.stack
    spec = AuditSpec(training, stack, arguments.threads, arguments.limit)
    golden = golden_path(Path(training.path), training.function, arguments.golden)
    if arguments.reason and not arguments.keep:
        raise BadInput("--reason says why an audit is kept; give --keep too.")
    if arguments.keep:
        refuse_in_ci()
        writable(golden.parent, "--golden")
    finish_set(golden.parent)
    if golden.is_file():
        read(golden)  # a damaged one is refused before anything is measured
        if arguments.keep and not arguments.reason:
            raise already_kept(golden)
    return Request(
        spec,
        arguments.out,
        arguments.json,
        golden,
        arguments.keep,
        arguments.reason,
        outputs_to(arguments.junit, arguments.summary),
    )


def execute(arguments: argparse.Namespace) -> int:
    """Audit, judge, report; 1 for a finding."""
    request = request_of(arguments)
    screen = console()
    out = output_folder(request.out)
    if audit_path(out).exists():
        raise BadInput(f"{out} holds an audit already; give another --out, or remove it.")
    python = python_of(request.spec.stack, screen)
    with alone(out):
        with watching(out, rungs(), screen) as tick:
            audit = ask(request.spec, python, out, tick)
        judgement = judge(audit)
        against = compare(audit, judgement, request.golden) if request.golden.is_file() else None
        lines = golden_lines(against) if against else ()
        page = render(audit, judgement, out / "report.html", lines)
    terminal(audit, judgement, screen)
    request.outputs.write(of_audit(judgement, request.spec.training.path), screen)
    if against is not None:
        print_golden(against, screen)
    if request.keep:
        kept = keep(audit, judgement, request.golden, request.reason)
        screen.print(f"kept: {kept}", soft_wrap=True)
    screen.print(f"report: {page}", soft_wrap=True)
    if request.as_json:
        emit(Audited(audit, verdict_of(judgement), since_kept(against) if against else None))
    return _exit_code(judgement.exit_code, None if request.keep else against)


def _exit_code(own: int, against: GoldenJudgement | None) -> int:
    """1 beats 3, as everywhere."""
    codes = {own, against.exit_code if against else 0}
    return 1 if 1 in codes else max(codes)
