"""Short trainings by the recipe's own trainer, and what each of their steps took and did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.data.samples import conversations
from harness.measuring.instruments.garbage import set_imports_aside
from harness.measuring.models import canonical_name, of
from harness.measuring.probes._batches import adapted_model
from harness.measuring.snapshots import loading
from harness.measuring.training.trainer import build_trainer
from harness.records.context import Context

ROWS = 8
Tokens = tuple[int, ...]


@dataclass
class Steps:
    """What the optimizer saw at every step: gradients as used, weights before and after.

    rows: the tokens, padding apart, of every row of every micro-batch that the model was given
    since the step before. given: the loss that the model gave for each micro-batch, where it was
    asked for one. modes: `training` or `evaluating`, by micro-batch. batches: what it was given,
    where that was to be kept. fused: whether one kernel updates all. losses and logged_rates: what
    the trainer logged, step by step; history: all of it.
    """

    gradients: list[dict[str, Any]] = field(default_factory=list)
    before: list[dict[str, Any]] = field(default_factory=list)
    after: list[dict[str, Any]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    groups: list[dict[str, float]] = field(default_factory=list)
    fused: list[bool] = field(default_factory=list)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    logged_rates: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    rows: list[list[list[Tokens]]] = field(default_factory=list)


def _kept(tensor: Any) -> Any:
    """A copy on the CPU: what is checked here is checked in float64, away from the device."""
    return tensor.detach().cpu().clone()


def rows_in(inputs: Mapping[str, Any]) -> list[Tokens]:
    """The token ids of each row of a batch, padding apart, whichever side it is on."""
    kept = inputs["attention_mask"].bool()
    pairs = zip(inputs["input_ids"], kept, strict=True)
    return [tuple(ids[mask].tolist()) for ids, mask in pairs]


def _weights(model: Any) -> dict[str, Any]:
    loader = of(model)
    return {
        canonical_name(n, loader): _kept(p) for n, p in model.named_parameters() if p.requires_grad
    }


@contextlib.contextmanager
def watched(trainer: Any, steps: Steps, *, keep: bool = False) -> Iterator[None]:
    """Look over the optimizer's shoulder: its own step hooks see the gradients after clipping,
    the model's the rows. keep: the batches too."""
    model = trainer.model
    loader = of(model)
    named = {canonical_name(n, loader): p for n, p in model.named_parameters() if p.requires_grad}

    taken: list[list[Tokens]] = []

    def asked(module: Any, args: Any, kwargs: Any) -> None:
        taken.append(rows_in(kwargs))
        steps.modes.append("training" if module.training else "evaluating")
        if keep:
            tensors = {n: v for n, v in kwargs.items() if hasattr(v, "detach")}
            steps.batches.append({n: _kept(v) for n, v in tensors.items()})

    def gave(module: Any, args: Any, output: Any) -> None:
        if output.loss is not None:
            steps.given.append(float(output.loss.detach()))

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        steps.rows.append([*taken])
        taken.clear()
        steps.gradients.append({n: _kept(p.grad) for n, p in named.items()})
        steps.before.append(_weights(model))
        steps.rates.append(float(optimizer.param_groups[0]["lr"]))
        steps.fused.append(bool(optimizer.param_groups[0].get("fused")))
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
        model.register_forward_pre_hook(asked, with_kwargs=True),
        model.register_forward_hook(gave),
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
    steps: int = -1,
    clip: float | None = None,
    size: int = ROWS,
    amplified: float = 1.0,
    keep: bool = False,
    **overrides: Any,
) -> Steps:
    """Train on the same products in the trainer's own order; no dropout, float32.

    steps: -1 for as many as the epochs have. clip: None keeps the recipe's. amplified: by how much
    every gradient is larger than it is. keep: what the model is given. overrides: further arguments
    of build_trainer.
    On a GPU the recipe's bfloat16 autocast and TF32 are switched off: a rounding of 2^-8 would
    hide a micro-batch that is weighted 1 % wrongly. Rung 11 trains with them.
    """
    exact: dict[str, Any] = (
        {"bf16": False, "tf32": False} if context.device.startswith("cuda") else {}
    )
    if clip is not None:
        exact["max_grad_norm"] = clip
    set_imports_aside()  # what the training before this one imported
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
        logging_steps=1,
        report_to="none",
        wrap=False,
        **exact,
        **overrides,
    )
    if amplified != 1.0:
        for parameter in built.trainer.model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient: gradient * amplified)
    seen = Steps()
    with watched(built.trainer, seen, keep=keep):
        built.trainer.train()
    seen.history += built.trainer.state.log_history
    history = [entry for entry in seen.history if "loss" in entry]
    seen.losses += [float(entry["loss"]) for entry in history]
    seen.logged_rates += [float(e["learning_rate"]) for e in history if "learning_rate" in e]
    return seen


def norm(gradients: dict[str, Any]) -> float:
    """Total 2-norm in float64."""
    return float(np.sqrt(sum(float(g.double().norm() ** 2) for g in gradients.values())))
