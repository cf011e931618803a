"""One audit inside the user's environment: open the training, walk the rungs, write each."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import Damaged, NotRunnable, OutOfSpace
from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks import checker
from harness.measuring.audit.finding import Findings, whole_rung_failed
from harness.measuring.audit.opening import OpenTrainer, open_training
from harness.measuring.audit.training import Training
from harness.measuring.instruments.interrupts import raise_if_interrupted
from harness.records.audit import Opened, RungChecks, opened_path, rung_path, write_sealed
from harness.records.handover import begin_rung
from harness.records.jobs import AuditJob
from harness.records.machine import snapshot
from harness.records.record import PROBE
from harness.records.typed import Json


def audit(job: AuditJob, watch: Callable[[], None]) -> None:
    """Measure every rung of the job that has no file yet. watch: called before each."""
    started = time.perf_counter()
    begin_rung(job.out, "opening")
    watch()
    with tempfile.TemporaryDirectory(prefix="harness-audit-") as scratch:
        trainer = open_training(job.training, job.function, Path(scratch), job.words)
        training = training_of(trainer, job.steps, job.loss_on)
        opened = _opened(trainer, training, time.perf_counter() - started)
        write_sealed(opened, opened_path(job.out))
        for rung in job.rungs:
            path = rung_path(job.out, rung)
            if checker(rung) is None or path.is_file():
                continue
            begin_rung(job.out, rung)
            watch()
            result = _measured(rung, training)
            raise_if_interrupted()
            write_sealed(result, path)
            print(f"audited {rung} in {result.seconds:.1f} s", file=sys.stderr, flush=True)


def _measured(rung: str, training: Training) -> RungChecks:
    """One rung; an error inside it becomes its result."""
    started = time.perf_counter()
    findings = Findings(rung)
    measure = checker(rung)
    assert measure is not None
    try:
        measure.checks(training, findings)
    except NotRunnable as error:
        findings.not_run(PROBE, str(error), error.lack)
    except (Damaged, OutOfSpace):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a training throws is the finding
        return whole_rung_failed(rung, error, time.perf_counter() - started)
    return findings.finish(time.perf_counter() - started)


def _opened(trainer: OpenTrainer, training: Training, seconds: float) -> Opened:
    core, seen = training.core, snapshot()
    return Opened(
        way=trainer.way,
        trainer=type(trainer.trainer).__name__,
        model=type(core).__name__,
        model_type=str(getattr(core.config, "model_type", "")),
        family=training.family.TITLE if training.family else "",
        device=str(next(core.parameters()).device),
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
