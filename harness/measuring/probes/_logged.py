"""Rung 10, the trainer's log: a step's loss and rate are those that the step had."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._steps import Steps

METRICS = ("logged_loss_gap", "logged_rate_gap")


def record_logged(recorder: Recorder, usual: Steps, rising: Steps) -> None:
    """usual: of a training of one micro-batch a step, so that its loss is the step's. rising: of
    one whose rates differ from step to step."""
    gap, _ = recorder.attempt(METRICS[0], partial(largest_gap, usual.losses, usual.given))
    if gap is not None:
        note = "logged losses against those that the model gave for the same steps"
        recorder.add(METRICS[0], gap, unit="nats/token", note=note)
    gap, _ = recorder.attempt(METRICS[1], partial(largest_gap, rising.logged_rates, rising.rates))
    if gap is not None:
        note = "logged rates against those that the optimizer used, over the largest"
        recorder.add(METRICS[1], gap / max(rising.rates), note=note)


def largest_gap(logged: Sequence[float], had: Sequence[float]) -> float:
    """Over the steps; ValueError where not every step was logged."""
    return max(abs(one - other) for one, other in zip(logged, had, strict=True))
