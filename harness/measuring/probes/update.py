"""Rung 10: accumulation, clipping, learning rate, optimizer state, weights, by the real trainer."""

from __future__ import annotations

import numpy as np

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes import _epochs, _logged, _schedules
from harness.measuring.probes._batches import adapted_model, one_processor, without_weights
from harness.measuring.probes._steps import ROWS, Steps, norm, train
from harness.measuring.probes._trainers import record_side
from harness.measuring.probes.backward import relative_gap
from harness.records.context import Context
from harness.records.record import Record
from harness.records.typed import Json

TRUTHS = (
    "accumulation_gap",
    "clip_gap",
    "largest_norm",
    "learning_rate",
    "adamw_gap",
    "decayed_gap",
    "weight_decay",
    "tensors_that_never_moved",
    "trained_in",
    "fused",
    "padded_right",
    *_epochs.METRICS,
    *_logged.METRICS,
    _schedules.METRIC,
)
# At a rate of 2e-4 a decay in ordinary use moves nothing that float32 would show.
DECAY = 10.0
LOOSE = 1e9  # a clipping threshold that never clips, so that the norm is seen


def adamw(steps: Steps, beta1: float, beta2: float, eps: float, decay: float) -> float:
    """Relative gap between the trainer's weights and AdamW by its definition, float64.

    Loshchilov and Hutter (arXiv 1711.05101): decoupled decay, bias-corrected moments.
    """
    off = size = 0.0
    for name, start in steps.before[0].items():
        weight = start.double().numpy().copy()
        m = np.zeros_like(weight)
        v = np.zeros_like(weight)
        for t, (gradients, rate) in enumerate(zip(steps.gradients, steps.rates, strict=True), 1):
            g = gradients[name].double().numpy()
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            weight *= 1 - rate * decay
            weight -= rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        moved = steps.after[-1][name].double().numpy()
        off += float(((moved - weight) ** 2).sum())
        size += float(((moved - start.double().numpy()) ** 2).sum())
    return float(np.sqrt(off / size))


@one_processor()
def run(context: Context) -> Record:
    """Seven short trainings of the same products."""
    empty = without_weights(context, "update", TRUTHS)
    if empty is not None:
        return empty
    recorder = Recorder("update")
    big = train(context, "big", micro=ROWS, accumulation=1, steps=1, clip=LOOSE)
    many = train(context, "many", micro=2, accumulation=ROWS // 2, steps=1, clip=LOOSE)
    recorder.add(
        "accumulation_gap",
        relative_gap(big.gradients[0], many.gradients[0]),
        note="gradient of 2×4 accumulated against one batch of 8, relative",
    )
    recorder.add("gradient_norm", norm(big.gradients[0]))
    limit = norm(big.gradients[0]) / 3
    clipped = train(context, "clipped", micro=ROWS, accumulation=1, steps=1, clip=limit)
    recorder.add("clip_gap", abs(norm(clipped.gradients[0]) - limit) / limit)
    usual = train(context, "usual", micro=4, accumulation=1, steps=4)
    recorder.add("learning_rate", [*usual.rates])
    recorder.add("weight_decay", [g["weight_decay"] for g in usual.groups])
    recorder.add("largest_norm", max(norm(g) for g in usual.gradients))
    recorder.add("adamw_gap", adamw(usual, 0.9, 0.999, 1e-8, 0.0))
    decayed = train(context, "decayed", micro=2, accumulation=1, steps=2, weight_decay=DECAY)
    gap = adamw(decayed, 0.9, 0.999, 1e-8, DECAY)
    recorder.add(
        "decayed_gap", gap, note=f"with a weight decay of {DECAY}, which the recipe has not"
    )
    for step, loss in enumerate(usual.losses):
        recorder.add("loss", loss, case=str(step), unit="nats/token")
    moved = {n: float((usual.after[-1][n] - w).norm()) for n, w in usual.before[0].items()}
    recorder.add("moved", float(np.sqrt(sum(x**2 for x in moved.values()))))
    recorder.add("tensors_that_never_moved", sum(x == 0 for x in moved.values()), unit="tensors")
    _logged.record_logged(recorder, usual, _epochs.record_threshold(recorder, context))
    _logged.record_norms(recorder, {"whole": big, "clipped": clipped}, norm(big.gradients[0]))
    _logged.record_summary(recorder, usual)
    modes: list[Json] = [*sorted(set(usual.modes))]
    recorder.add("trained_in", modes, unit="text")
    recorder.add("fused", all(usual.fused), unit="bool", note="one kernel updates all weights")
    _schedules.record_schedules(recorder, context)
    _epochs.record_order(recorder, context, usual)
    _epochs.record_epochs(recorder, context)
    record_side(recorder, context, adapted_model(context))
    return recorder.finish(context.provenance(f"training {ROWS}"), context.out)
