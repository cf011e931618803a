"""A user's training, opened once per process; of each rung a record, and what was checked."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, NotRunnable
from harness.measuring import _compat
from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks import checker
from harness.measuring.audit.finding import Findings, whole_rung_failed
from harness.measuring.audit.handing import NAME, given, handed
from harness.measuring.audit.opening import OpenTrainer, open_training
from harness.measuring.audit.training import Batch, Training
from harness.measuring.instruments.precision import AS_AUDITED, of_rung
from harness.records.audit import (
    Check,
    Opened,
    RungChecks,
    opened_path,
    rung_path,
    write_audit,
)
from harness.records.context import Context
from harness.records.disk import raise_of_the_disk
from harness.records.machine import snapshot
from harness.records.record import PROBE, Metric, Record
from harness.records.typed import Json

# What a random weight, a dropout mask and an order of rows are drawn from before the script sets
# seeds of its own: two audits of it then draw the same.
SEED = 42


@dataclass
class _Session:
    """The training of this process. scratch: removed when the process ends."""

    training: Training
    scratch: tempfile.TemporaryDirectory[str]


_SESSIONS: dict[Path, _Session] = {}


def open_session(context: Context) -> str:
    """Open a context's training for every rung of this process; the device that it chose.

    Raises BadInput with the user's own error where it cannot be opened.
    """
    user = context.training
    if user is None:
        raise HarnessError("There is no training to open in this context.")
    started = time.perf_counter()
    scratch = tempfile.TemporaryDirectory(prefix="harness-audit-")
    _seed()
    trainer = open_training(
        Path(user.path), user.function, Path(scratch.name), user.words, user.steps, given(context)
    )
    source = Path(user.path).read_text("utf-8", errors="replace")
    training = training_of(trainer, user.steps, user.loss_on, source)
    training.batches = handed(context, training.batches)
    training.is_handed = NAME in context.given
    _SESSIONS[context.out] = _Session(training, scratch)
    opened = _opened(trainer, training, time.perf_counter() - started)
    write_audit(opened, opened_path(context.out))
    return opened.device


def session_batches(context: Context) -> Sequence[Batch]:
    """The batches that a context's opened training is audited with."""
    return _SESSIONS[context.out].training.batches


def close_session(context: Context) -> None:
    """Let go of a context's training: for a process that outlives it."""
    session = _SESSIONS.pop(context.out)
    session.scratch.cleanup()


def audited(context: Context, rung: str) -> Record:
    """One rung of the opened training: what was checked lies beside the record that it gives."""
    result = _measured(rung, _SESSIONS[context.out].training)
    write_audit(result, rung_path(context.out, rung))
    metrics = tuple(metric_of(check) for check in result.checks)
    return Record(rung, context.provenance(context.training), metrics, result.seconds)


def metric_of(check: Check) -> Metric:
    """A check as a record's metric: two stacks are compared by their records."""
    return Metric(
        check.rung,
        check.name,
        check.case,
        check.value,
        check.unit,
        check.how,
        status=check.status,
        failure=check.failure,
        reason=check.reason or None,
        volatile=check.is_volatile,
        lack=check.lack,
    )


def _seed() -> None:
    import numpy
    import torch

    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)


def _measured(rung: str, training: Training) -> RungChecks:
    """One rung; an error inside it becomes its result."""
    started = time.perf_counter()
    findings = Findings(rung)
    measure = checker(rung)
    try:
        if measure is None:
            raise NotRunnable(f"No check of a user's training is made at {rung}.")
        with of_rung(_device(training), rung, AS_AUDITED):
            measure.checks(training, findings)
    except NotRunnable as error:
        findings.not_run(PROBE, str(error), error.lack)
    except Exception as error:  # noqa: BLE001 - whatever a training throws is the finding
        raise_of_the_disk(error)
        print(f"{rung} raised", file=sys.stderr)
        return whole_rung_failed(rung, error, time.perf_counter() - started)
    return findings.finish(time.perf_counter() - started)


def _device(training: Training) -> str:
    return str(next(training.core.parameters()).device)


def _opened(trainer: OpenTrainer, training: Training, seconds: float) -> Opened:
    core, seen = training.core, snapshot()
    return Opened(
        way=trainer.way,
        trainer=type(trainer.trainer).__name__,
        model=type(core).__name__,
        model_type=_compat.model_type(core.config),
        family=training.family.TITLE if training.family else "",
        device=_device(training),
        rows=sum(len(batch.ids) for batch in training.batches),
        declared=_declared(trainer.declared, training.loss_on),
        changed=tuple(trainer.changed),
        versions=seen.versions,
        python=seen.python,
        platform=seen.platform,
        seconds=seconds,
    )


# Settings that decide what a training does; the rest of a Trainer's hundred says nothing here.
_TOLD = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "max_steps",
    "num_train_epochs",
    "max_grad_norm",
    "weight_decay",
    "optim",
    "bf16",
    "fp16",
    "gradient_checkpointing",
    "seed",
    "max_length",
    "max_seq_length",
    "packing",
    "padding_free",
    "assistant_only_loss",
    "completion_only_loss",
    "average_tokens_across_devices",
)


def _declared(arguments: Mapping[str, Any], loss_on: str) -> dict[str, Json]:
    told: dict[str, Json] = {"loss_on": loss_on}
    for name in _TOLD:
        if name in arguments:
            value = getattr(arguments[name], "value", arguments[name])
            told[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return told
