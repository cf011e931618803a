"""Rung 8, an adapter switched off and on again, as who compares with the base does."""

from __future__ import annotations

from typing import Any

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._batches import forward, plain_model
from harness.records.context import Context

METRIC = "switched_gap"


def record_switched(
    recorder: Recorder, context: Context, model: Any, inputs: dict[str, Any], usual: Any
) -> None:
    """Largest difference of a logit: switched off from the model that never had an adapter, and on
    again from before. usual: the adapted model's logits for the inputs."""
    gaps, _ = recorder.attempt(METRIC, lambda: switched_gaps(context, model, inputs, usual))
    for case, gap in (gaps or {}).items():
        recorder.add(METRIC, gap, case=case, unit="logits")


def switched_gaps(
    context: Context, model: Any, inputs: dict[str, Any], usual: Any
) -> dict[str, float]:
    """By `off` and `on`."""
    import torch

    with torch.no_grad():
        with model.disable_adapter():
            off = forward(model, inputs).logits
        on = forward(model, inputs).logits
        plain = forward(plain_model(context), inputs).logits
    pairs = {"off": (off, plain), "on": (on, usual)}
    return {case: float((one - other).abs().max()) for case, (one, other) in pairs.items()}
