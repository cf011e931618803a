"""Rung 10, the trainer's log: a step's loss and rate are those that the step had."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from harness.errors import Lack
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._steps import Steps

METRICS = ("logged_loss_gap", "logged_rate_gap")


def record_logged(recorder: Recorder, usual: Steps, rising: Steps) -> None:
    """usual: of a training of one micro-batch a step, so that its loss is the step's. rising: of
    one whose rates differ from step to step."""
    _record_losses(recorder, usual)
    gap, _ = recorder.attempt(METRICS[1], partial(rate_gap, rising))
    if gap is not None:
        note = "logged rates against those that the optimizer used, over the largest"
        recorder.add(METRICS[1], gap, note=note)


def _record_losses(recorder: Recorder, usual: Steps) -> None:
    if not usual.given:
        reason = "the trainer works the loss out by itself and asks the model for none"
        recorder.not_run(METRICS[0], reason, Lack.LIBRARY)
        return
    gap, _ = recorder.attempt(METRICS[0], partial(largest_gap, usual.losses, usual.given))
    if gap is not None:
        note = "logged losses against those that the model gave for the same steps"
        recorder.add(METRICS[0], gap, unit="nats/token", note=note)


def rate_gap(steps: Steps) -> float:
    """Over the largest rate; ValueError where no step had one."""
    if not any(steps.rates):
        raise ValueError(f"No step of {len(steps.rates)} had a learning rate above nothing.")
    return largest_gap(steps.logged_rates, steps.rates) / max(steps.rates)


def largest_gap(logged: Sequence[float], had: Sequence[float]) -> float:
    """Over the steps; ValueError where not every step was logged."""
    return max(abs(one - other) for one, other in zip(logged, had, strict=True))
