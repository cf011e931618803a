"""Rung 10's log, where there is nothing to hold it against, or not every step is in it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._logged import record_logged
from harness.measuring.probes._steps import Steps
from harness.records.context import Context
from harness.records.record import Status

USUAL = Steps(given=[0.5, 0.25], losses=[0.5, 0.25])
RISING = Steps(rates=[0.0, 2e-4], logged_rates=[0.0, 2e-4])


def recorded(context: Context, usual: Steps, rising: Steps) -> list[tuple[Status, Any]]:
    recorder = Recorder("update")
    record_logged(recorder, usual, rising)
    metrics = recorder.finish(context.provenance(), context.out).metrics
    assert [m.name for m in metrics] == ["logged_loss_gap", "logged_rate_gap"]
    return [(m.status, m.value) for m in metrics]


def test_by_hand(context: Context) -> None:
    assert recorded(context, USUAL, RISING) == [(Status.OK, 0.0), (Status.OK, 0.0)]
    halved = Steps(given=[0.5, 0.25], losses=[0.5, 0.375])
    late = Steps(rates=[0.0, 2e-4], logged_rates=[2e-4, 0.0])
    assert recorded(context, halved, late) == [(Status.OK, 0.125), (Status.OK, 1.0)]


def test_a_trainer_that_asks_the_model_for_no_loss_is_no_fault(context: Context) -> None:
    assert recorded(context, Steps(losses=[0.5]), RISING)[0][0] is Status.NOT_RUN


@pytest.mark.parametrize(
    "rising",
    [
        Steps(rates=[0.0, 0.0], logged_rates=[0.0, 0.0]),  # warmed up to nothing
        Steps(rates=[0.0, 2e-4], logged_rates=[0.0]),  # a step without a rate in the log
    ],
)
def test_a_rate_that_cannot_be_held_breaks_its_value_not_the_rung(
    context: Context, rising: Steps
) -> None:
    first, second = recorded(context, USUAL, rising)
    assert first == (Status.OK, 0.0)
    assert second[0] is Status.BROKEN
