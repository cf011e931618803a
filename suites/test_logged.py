"""Rung 10's log, where there is nothing to hold it against, or not every step is in it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._logged import (
    Counts,
    record_logged,
    record_norms,
    record_shares,
    record_summary,
)
from harness.measuring.probes._steps import Steps
from harness.records.context import Context
from harness.records.record import Status

USUAL = Steps(given=[0.5, 0.25], losses=[0.5, 0.25])
TOP = "mean_token_accuracy"
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


def test_what_is_logged_is_held_step_by_step(context: Context) -> None:
    """Eight tokens and two of three targets right in the first step, one of one in the second."""
    first, second = (1, 2, 3, 4, 5), (6, 7, 8)
    history = [
        {"loss": 0.5, "grad_norm": 2.0, "epoch": 0.5, "num_tokens": 5.0, TOP: 0.5, "entropy": 0.5},
        {"loss": 0.25, "grad_norm": 1.0, "epoch": 1.0, "num_tokens": 8.0, TOP: 1.0, "entropy": 0.5},
        {"train_loss": 0.375, "epoch": 1.0},
    ]
    steps = Steps(given=[0.5, 0.25], rows=[[[first]], [[second]]], history=history)
    recorder = Recorder("update")
    record_norms(recorder, {"whole": steps}, 4.0)
    record_summary(recorder, steps)
    record_shares(
        recorder, steps, {first: Counts(3, 2, 1.5, 5, 9.0), second: Counts(1, 1, 0.75, 3, 9.0)}
    )
    values = {m.name: m.value for m in recorder.finish(context.provenance(), context.out).metrics}
    assert values == {
        "logged_norm_gap": 0.5,
        "logged_epochs": [0.5, 1.0],
        "mean_loss_gap": 0.0,
        "logged_tokens_gap": 0.0,
        "logged_accuracy_gap": pytest.approx(1 / 6),
        "logged_entropy_gap": 0.25,
    }


@pytest.mark.parametrize("counts", [False, True])
def test_a_trainer_that_does_not_count_tokens_is_no_fault_unless_its_release_does(
    context: Context, monkeypatch: pytest.MonkeyPatch, *, counts: bool
) -> None:
    monkeypatch.setattr("harness.measuring._compat.logs_counts", lambda: counts)
    lost = Status.BROKEN if counts else Status.NOT_RUN
    steps = Steps(given=[0.5], rows=[[[(1, 2)]]], history=[{"loss": 0.5, "epoch": 1.0}])
    recorder = Recorder("update")
    record_norms(recorder, {"whole": steps}, 4.0)
    record_summary(recorder, steps)
    record_shares(recorder, steps, {})
    metrics = recorder.finish(context.provenance(), context.out).metrics
    assert {m.name: m.status for m in metrics} == {
        "logged_norm_gap": Status.BROKEN,  # no norm is logged
        "logged_epochs": Status.OK,
        "mean_loss_gap": Status.BROKEN,  # nor a mean
        "logged_tokens_gap": lost,
        "logged_accuracy_gap": lost,
        "logged_entropy_gap": lost,
    }
