"""Rung 9: the gradient of every LoRA tensor, and which frozen modules did backward work."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, of, parts
from harness.measuring.probes._batches import (
    adapted_model,
    batch,
    forward,
    one_processor,
    without_weights,
)
from harness.measuring.probes._four_bit import METRIC, record_four_bit
from harness.measuring.probes._trainers import trainer_over
from harness.measuring.probes.forward import cross_entropy
from harness.records.context import Context
from harness.records.record import Record

TRAINERS = "trainer_gap"
TRUTHS = (
    "finite_difference_gap",
    "direction_gap",
    "masked_gradient",
    "checkpoint_gap",
    "dropout_checkpoint_gap",
    "gradient_of_a_at_zero_b",
    "tower_ran_backward",
    "lora_without_gradient",
    "frozen_with_gradient",
    METRIC,
    TRAINERS,
)
# Long enough for float32 inside the norms, short enough for a quadratic error of 1e-4.
STEP = 1e-2


def gradients(model: Any) -> dict[str, Any]:
    """Gradient of every LoRA tensor by canonical name, detached copies."""
    loader = of(model)
    return {
        canonical_name(name, loader): parameter.grad.detach().clone()
        for name, parameter in model.named_parameters()
        if "lora_" in name and parameter.grad is not None
    }


def run_backward(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Gradients of one batch, from zero."""
    return both_ways(model, inputs)[1]


def both_ways(model: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(logits (batch, sequence, vocabulary), gradients) of one batch, from zero."""
    model.zero_grad(set_to_none=True)
    out = forward(model, inputs)
    out.loss.backward()
    return out.logits.detach(), gradients(model)


def relative_gap(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Norm of the difference over the norm of `one`, over all tensors together."""
    if set(one) != set(other):
        raise ValueError(f"other tensors have gradients: {sorted(set(one) ^ set(other))[:3]}")
    off = sum(float((one[n].double() - other[n].double()).norm() ** 2) for n in one)
    size = sum(float(one[n].double().norm() ** 2) for n in one)
    return float(np.sqrt(off / size))


def _finite_differences(context: Context, inputs: dict[str, Any]) -> tuple[float, float]:
    """Gaps between autograd and central differences, float64, over the gradient's norm: along the
    gradient, and along a drawn direction.

    Along it the slope is the gradient's norm, the largest there is: the most exact direction. What
    is lost of a gradient is lost of that direction too; the drawn one sees it, in which each tensor
    has the share that it has of the gradient's norm.
    """
    import torch

    model = adapted_model(context).double()
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    gradients = run_backward(model, inputs)
    size = float(np.sqrt(sum(float((g**2).sum()) for g in gradients.values())))
    loader = of(model)
    tuned = {canonical_name(n, loader): p for n, p in model.named_parameters() if "lora_" in n}

    def slope(along: dict[str, Any], step: float) -> float:
        def move(by: float) -> None:
            for name, direction in along.items():
                tuned[name].add_(direction, alpha=by)

        losses = []
        with torch.no_grad():
            for shift in (step, -2 * step):
                move(shift)
                logits = forward(model, inputs).logits
                losses.append(float(cross_entropy(logits, inputs["labels"])[0].mean()))
            move(step)
        return (losses[0] - losses[1]) / (2 * step)

    def gap(along: dict[str, Any]) -> float:
        # Richardson: the error of order step² cancels between two steps.
        measured = (4 * slope(along, STEP / 2) - slope(along, STEP)) / 3
        exact = sum(float((gradients[n] * along[n]).sum()) for n in gradients)
        return abs(measured - exact) / size

    drawn = _drawn_direction(gradients, context.seed)
    return gap({name: gradient / size for name, gradient in gradients.items()}), gap(drawn)


def _drawn_direction(gradients: dict[str, Any], seed: int) -> dict[str, Any]:
    """Of norm 1. A tensor whose gradient is nothing has a mean share."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    norms = {name: float(gradient.norm()) for name, gradient in gradients.items()}
    usual = float(np.mean([*norms.values()]))
    along = {}
    for name, gradient in sorted(gradients.items()):
        drawn = torch.randn(gradient.shape, generator=draw, dtype=torch.float64)
        along[name] = (drawn * ((norms[name] or usual) / drawn.norm())).to(gradient.device)
    size = float(np.sqrt(sum(float((each**2).sum()) for each in along.values())))
    return {name: each / size for name, each in along.items()}


@dataclass(frozen=True)
class Run:
    """One forward and backward. gradients: as `gradients` gives them. masked: the largest gradient
    of the loss on logits whose target is masked. ran: whether the vision tower's blocks, and the
    frozen MLPs of the decoder, ran backward."""

    gradients: dict[str, Any]
    masked: float
    ran: dict[str, bool]


def watched_backward(model: Any, inputs: dict[str, Any]) -> Run:
    """Gradients of one batch, from zero, and what ran for them."""
    ran = {"tower": False, "decoder": False}

    def note(key: str) -> Any:
        def hook(module: Any, into: Any, out: Any) -> None:
            ran[key] = True

        return hook

    modules = parts(model)
    handles = [b.register_full_backward_hook(note("tower")) for b in modules.blocks]
    handles += [x.register_full_backward_hook(note("decoder")) for x in modules.mlps]
    model.zero_grad(set_to_none=True)
    try:
        out = forward(model, inputs)
        out.logits.retain_grad()
        with warnings.catch_warnings():
            # Of a block with an adapter inside and nothing before it that asks for gradients.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            out.loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    masked = out.logits.grad[:, :-1][inputs["labels"][:, 1:] == -100].abs().max()
    return Run(gradients(model), float(masked), ran)


def _checkpointed(context: Context) -> Any:
    """The recipe's way: non-reentrant checkpointing, inputs made to require gradients."""
    return _checkpointing(adapted_model(context).train(), context)


def _checkpointing(model: Any, context: Context) -> Any:
    """The same model, checkpointing from now on."""
    model.gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={"use_reentrant": context.recipe.training.use_reentrant}
    )
    model.enable_input_require_grads()
    return model


def _dropped(context: Context, inputs: dict[str, Any]) -> float:
    """Relative gap between the gradients with and without checkpointing where adapters drop out,
    from one seed: what is computed again has the masks that it had."""
    import torch

    model = adapted_model(context, dropout=True).train()
    torch.manual_seed(context.seed)
    plain = run_backward(model, inputs)
    _checkpointing(model, context)
    torch.manual_seed(context.seed)
    return relative_gap(plain, run_backward(model, inputs))


def _record_trainers(recorder: Recorder, context: Context, plain: dict[str, Any]) -> None:
    """Relative distance of the gradients of the trainer's own loss from those of the model's.
    plain: of a batch padded right."""
    gaps, _ = recorder.attempt(TRAINERS, lambda: _trainer_gaps(context, plain))
    for side, gap in (gaps or {}).items():
        recorder.add(TRAINERS, gap, case=side)


def _trainer_gaps(context: Context, plain: dict[str, Any]) -> dict[str, float]:
    """By side."""
    model = adapted_model(context).train()
    # Asked before a trainer has the model: some change its forward pass.
    own = {"left": run_backward(model, batch(context, "left")), "right": plain}
    trainer = trainer_over(context, model)
    gaps = {}
    for side, asked in own.items():
        model.zero_grad(set_to_none=True)
        trainer.compute_loss(model, batch(context, side)).backward()
        gaps[side] = relative_gap(asked, gradients(model))
    return gaps


@one_processor()
def run(context: Context) -> Record:
    """Gradients on a right-padded batch of four products, float32."""
    from torch.utils.flop_counter import FlopCounterMode

    empty = without_weights(context, "backward", TRUTHS)
    if empty is not None:
        return empty
    recorder = Recorder("backward")
    inputs = batch(context, "right")
    model = adapted_model(context).train()
    whole = watched_backward(model, inputs)
    plain = whole.gradients
    for name, gradient in sorted(plain.items()):
        recorder.add("gradient_norm", float(gradient.norm()), case=name)
    loader = of(model)
    names = {canonical_name(n, loader) for n, _ in model.named_parameters() if "lora_" in n}
    recorder.add("lora_without_gradient", len(names - set(plain)), unit="tensors")
    frozen = [n for n, p in model.named_parameters() if p.grad is not None and "lora_" not in n]
    recorder.add("frozen_with_gradient", len(frozen), unit="tensors")
    recorder.add("masked_gradient", whole.masked)
    recorder.add("tower_ran_backward", whole.ran["tower"], case="plain")
    recorder.add("decoder_ran_backward", whole.ran["decoder"], case="plain")
    checkpointed = watched_backward(_checkpointed(context), inputs)
    recorder.add("checkpoint_gap", relative_gap(plain, checkpointed.gradients))
    recorder.add("tower_ran_backward", checkpointed.ran["tower"], case="checkpointed")
    recorder.add("dropout_checkpoint_gap", _dropped(context, batch(context, "right", size=1)))
    along, drawn = _finite_differences(context, batch(context, "right", size=2))
    recorder.add("finite_difference_gap", along)
    recorder.add("direction_gap", drawn, note="along a drawn direction, over the gradient's norm")
    zero = run_backward(adapted_model(context, zero_b=True).train(), inputs)
    largest = max(float(g.abs().max()) for n, g in zero.items() if "lora_A" in n)
    recorder.add("gradient_of_a_at_zero_b", largest)
    record_four_bit(recorder, context)
    _record_trainers(recorder, context, plain)
    # Eager: which fused attention kernels the counter knows differs by torch's release.
    counted = adapted_model(context, attention="eager").train()
    with FlopCounterMode(display=False) as counter:
        loss = forward(counted, inputs).loss
        before = counter.get_total_flops()
        loss.backward()
    recorder.add("flops", before, case="forward", unit="FLOP")
    recorder.add("flops", counter.get_total_flops() - before, case="backward", unit="FLOP")
    return recorder.finish(context.provenance("training 4"), context.out)
