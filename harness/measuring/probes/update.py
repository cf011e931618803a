"""Rung 10: accumulation, clipping, learning rate, optimizer state, weights, by the real trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.data.samples import conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, of
from harness.measuring.probes._batches import adapted_model, without_weights
from harness.measuring.probes.backward import relative_gap
from harness.measuring.snapshots import loading
from harness.measuring.training.trainer import build_trainer
from harness.records.context import Context
from harness.records.record import Record

TRUTHS = (
    "accumulation_gap",
    "clip_gap",
    "largest_norm",
    "learning_rate",
    "adamw_gap",
    "weight_decay",
    "tensors_that_never_moved",
)
ROWS = 8
LOOSE = 1e9  # a clipping threshold that never clips, so that the norm is seen


@dataclass
class Steps:
    """What the optimizer saw at every step: gradients as used, weights before and after."""

    gradients: list[dict[str, Any]] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    after: list[dict[str, Any]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    groups: list[dict[str, float]] = field(default_factory=list)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)


def _kept(tensor: Any) -> Any:
    """A copy on the CPU: what is checked here is checked in float64, away from the device."""
    return tensor.detach().cpu().clone()


def _weights(model: Any) -> dict[str, Any]:
    loader = of(model)
    return {
        canonical_name(n, loader): _kept(p) for n, p in model.named_parameters() if p.requires_grad
    }


@contextlib.contextmanager
def watched(trainer: Any, steps: Steps) -> Iterator[None]:
    """Look over the optimizer's shoulder: its own step hooks see the gradients after clipping."""
    model = trainer.model
    loader = of(model)
    named = {canonical_name(n, loader): p for n, p in model.named_parameters() if p.requires_grad}

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        steps.gradients.append({n: _kept(p.grad) for n, p in named.items()})
        steps.before.append(_weights(model))
        steps.rates.append(float(optimizer.param_groups[0]["lr"]))
        keys = ("weight_decay", "eps")
        steps.groups.append({k: float(optimizer.param_groups[0][k]) for k in keys})

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        steps.after.append(_weights(model))
        steps.states.update(
            {
                n: {k: _kept(v) for k, v in optimizer.state[p].items()}
                for n, p in named.items()
                if p in optimizer.state
            }
        )

    trainer.create_optimizer_and_scheduler(num_training_steps=trainer.args.max_steps)
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    handles = [
        inner.register_step_pre_hook(before),
        inner.register_step_post_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def train(
    context: Context,
    name: str,
    *,
    micro: int,
    accumulation: int,
    steps: int,
    clip: float,
    size: int = ROWS,
) -> Steps:
    """Train on the same products in the trainer's own order; no dropout, float32.

    On a GPU the recipe's bfloat16 autocast and TF32 are switched off: a rounding of 2^-8 would
    hide a micro-batch that is weighted 1 % wrongly. Rung 11 trains with them.
    """
    exact: dict[str, Any] = (
        {"bf16": False, "tf32": False} if context.device.startswith("cuda") else {}
    )
    processor = loading.load_processor(context.snapshot, padding_side="right")
    built = build_trainer(
        adapted_model(context),
        processor,
        conversations(context, context.recipe, size),
        context.recipe,
        context.work("update") / name,
        max_steps=steps,
        micro_batch=micro,
        accumulation=accumulation,
        seed=context.seed,
        max_grad_norm=clip,
        logging_steps=1,
        report_to="none",
        wrap=False,
        **exact,
    )
    seen = Steps()
    with watched(built.trainer, seen):
        built.trainer.train()
    history = built.trainer.state.log_history
    seen.losses += [float(entry["loss"]) for entry in history if "loss" in entry]
    return seen


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


def norm(gradients: dict[str, Any]) -> float:
    """Total 2-norm in float64."""
    return float(np.sqrt(sum(float(g.double().norm() ** 2) for g in gradients.values())))


def run(context: Context) -> Record:
    """Four short trainings of the same eight products."""
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
    usual = train(
        context,
        "usual",
        micro=4,
        accumulation=1,
        steps=4,
        clip=context.recipe.training.max_grad_norm,
    )
    recorder.add("learning_rate", [*usual.rates])
    recorder.add("weight_decay", [g["weight_decay"] for g in usual.groups])
    recorder.add("largest_norm", max(norm(g) for g in usual.gradients))
    recorder.add("adamw_gap", adamw(usual, 0.9, 0.999, 1e-8, 0.0))
    for step, loss in enumerate(usual.losses):
        recorder.add("loss", loss, case=str(step), unit="nats/token")
    moved = {n: float((usual.after[-1][n] - w).norm()) for n, w in usual.before[0].items()}
    recorder.add("moved", float(np.sqrt(sum(x**2 for x in moved.values()))))
    recorder.add("tensors_that_never_moved", sum(x == 0 for x in moved.values()), unit="tensors")
    return recorder.finish(context.provenance(f"training {ROWS}"), context.out)
