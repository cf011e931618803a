"""The learning rate, step by step and over the whole training, against what is declared."""

from __future__ import annotations

from typing import Any

from harness.measuring import _compat
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.schedule import share, total_steps
from harness.measuring.audit.steps.settings import declared, has_own_scheduler, stated
from harness.measuring.audit.steps.watching import Run
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation

# Steps of a whole schedule that are looked at, evenly spread.
_LOOKED_AT = 200
# Schedules compute in float64; a polynomial's root loses some of it.
_TOLERANCE = 1e-9
# How far behind the training's end a schedule's own is looked for, in trainings; what of the full
# rate is nothing; and what may be left of it at the end, as a few steps more would take away.
_FURTHER, _NOTHING, _LEFT = 20, 0.01, 0.1


def checks(training: Training, taken: Run, findings: Findings) -> None:
    """See the module."""
    if taken.scheduler is not None:
        findings.put(
            "scheduler_steps",
            taken.scheduler_steps,
            len(taken.steps),
            unit="steps",
            evidence=[f"{len(taken.micros)} micro-batches"],
            setting="scheduler",
        )
    shares = [_share_of(step.groups[0]) for step in taken.steps]
    if not training.declared:
        findings.record("schedule", list(shares), unit="share")
        return
    rows = _rows(training)
    if rows is None and int(declared(training, "max_steps", -1)) <= 0:
        findings.not_run("schedule", "The dataset has no length, so the schedule has no end.")
        return
    total = total_steps(rows or 0, training.declared)
    findings.record("total_steps", total, unit="steps")
    _unfinished(taken, findings, total)
    _against(training, taken, findings, shares, total)


def _unfinished(taken: Run, findings: Findings, total: int) -> None:
    """A schedule that ends at nothing is there when the training ends. One that counts other steps
    than the optimizer's, or another number of them, is in the middle of its way."""
    lambdas = getattr(taken.scheduler, "lr_lambdas", None)
    if not lambdas:
        return
    rate = lambdas[0]
    later = [int(total * (1 + _FURTHER * i / _LOOKED_AT)) for i in range(_LOOKED_AT + 1)]
    ends = next((step for step in later if float(rate(step)) < _NOTHING), None)
    if ends is None:
        return
    findings.put(
        "schedule_unfinished",
        float(rate(total)),
        _LEFT,
        relation=Relation.AT_MOST,
        unit="share",
        evidence=[f"the training ends after {total} steps, the schedule after about {ends}"],
        setting="num_training_steps",
    )


def _share_of(group: dict[str, Any]) -> float:
    full = float(group.get("initial_lr", group["lr"]))
    return float(group["lr"]) / full if full else 0.0


def _rows(training: Training) -> int | None:
    data = training.trainer.train_dataset
    return len(data) if hasattr(data, "__len__") else None


def _against(
    training: Training, taken: Run, findings: Findings, shares: list[float], total: int
) -> None:
    kind = str(declared(training, "lr_scheduler_type", "linear"))
    warmup = _compat.warmup_steps(training.declared, total)
    rate = float(declared(training, "learning_rate"))
    findings.put(
        "warmup_unfinished",
        warmup,
        total,
        basis=Basis.DECLARED,
        relation=Relation.AT_MOST,
        unit="steps",
        setting="warmup_steps" if stated(training, "warmup_steps") else "warmup_ratio",
    )
    settings = declared(training, "lr_scheduler_kwargs") or {}
    settings = settings if isinstance(settings, dict) else {}
    if has_own_scheduler(training) and not stated(
        training, "lr_scheduler_type", "warmup_steps", "warmup_ratio"
    ):
        findings.record("schedule", list(shares), unit="share")
        return

    def truth(step: int) -> float | None:
        return share(kind, step, warmup, total, rate, settings)

    if truth(0) is None:
        findings.not_run("schedule", f"The schedule {kind} is not computed here.")
        return
    wanted = [truth(step) for step in range(len(shares))]
    findings.put(
        "schedule",
        list(shares),
        list(wanted),
        basis=Basis.DECLARED,
        tolerance=_TOLERANCE,
        unit="share",
        evidence=[f"{kind}, {warmup} steps of warm-up, {total} in all"],
        setting="warmup_steps" if stated(training, "warmup_steps") else "lr_scheduler_type",
    )
    ignored = kind == "constant" and warmup > 0
    findings.put(
        "warmup_ignored", ignored, False, basis=Basis.DECLARED, setting="lr_scheduler_type"
    )
    lambdas = getattr(taken.scheduler, "lr_lambdas", None)
    if not lambdas:
        name = type(taken.scheduler).__name__
        findings.not_run("schedule_whole", f"A {name} does not tell its rates beforehand.")
        return
    looked_at = sorted({round(i * total / _LOOKED_AT) for i in range(_LOOKED_AT)})
    gaps = [(abs(float(lambdas[0](step)) - float(truth(step) or 0.0)), step) for step in looked_at]
    worst, step = max(gaps)
    findings.put(
        "schedule_whole",
        worst,
        0.0,
        basis=Basis.DECLARED,
        tolerance=_TOLERANCE,
        unit="share",
        evidence=[f"step {step} of {total}"],
        setting="lr_scheduler_type",
    )
