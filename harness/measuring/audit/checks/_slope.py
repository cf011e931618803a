"""The gradient against the loss itself: how much it moves along the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.scoring import IGNORED, epsilon, stir, targets_of
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# The loss is meant to move by about this share of itself: far above float32's rounding, and small
# enough for three step lengths to show what is left of the curve.
_MOVES = 1e-2
# The slope by rounded losses may be off by this share before it says nothing.
_SHARP = 0.05


def slope_check(training: Training, findings: Findings, batch: Batch) -> None:
    """Evaluation mode: dropout would draw anew at every point."""
    measured = findings.attempt("slope", lambda: _slope(training, batch))
    if measured is None:
        return
    slope, size, tolerance = measured
    findings.put(
        "slope",
        slope / size,
        1.0,
        basis=Basis.IDENTITY,
        tolerance=tolerance,
        unit="share",
        setting="compute_loss",
    )


def _seen(batch: Batch) -> dict[str, Any]:
    """The batch without targets that padding predicts, of which forward.targets_from_padding asks.
    Padding sees nothing: a score plus a mask of -3e38 is the mask, whatever the score, and
    autograd still gives the score the softmax's gradient."""
    labels, (_, padded) = batch.inputs.get("labels"), targets_of(batch.inputs)
    if labels is None or not bool(padded.any()):
        return dict(batch.inputs)
    kept = labels.clone()
    kept[:, 1:][padded] = IGNORED
    return {**batch.inputs, "labels": kept}


def _slope(training: Training, batch: Batch) -> tuple[float, float, float]:
    """(slope of the loss along the gradient by central differences, the gradient's norm, how far
    their quotient may be from 1). Raises NotRunnable where the forward rounds too coarsely."""
    import torch

    if epsilon(training) > 1e-6:
        raise NotRunnable("The forward computes in 16 bits, too coarse for a slope.")
    if any(getattr(config, "use_dora", False) for config in training.structure.configs.values()):
        raise NotRunnable(
            "DoRA takes the norm that it divides by as a constant (arXiv 2402.09353, section 4.3): "
            "its gradient is no slope of the loss."
        )
    inputs = _seen(batch)
    with training.restored():
        stir(training)
        training.model.zero_grad(set_to_none=True)
        loss = training.loss(inputs)
        if not loss.requires_grad:
            raise NotRunnable("The loss has no gradient.")
        loss.backward()
        value = float(loss.detach())
        trained = {
            name: parameter
            for name, parameter in training.core.named_parameters()
            if parameter.requires_grad and parameter.grad is not None
        }
        size = sum(float(p.grad.double().square().sum()) for p in trained.values()) ** 0.5
        if not size:
            raise NotRunnable("The gradient is zero.")
        along = {name: p.grad.detach() / size for name, p in trained.items()}
        start = {name: p.detach().clone() for name, p in trained.items()}
        step = _MOVES * max(1.0, abs(value)) / size

        def at(shift: float) -> float:
            with torch.no_grad():
                for name, parameter in trained.items():
                    parameter.copy_(start[name] + shift * along[name])
                return float(training.loss(inputs))

        slope, error = _extrapolated(at, step)
    # Each loss is off by its own rounding, some of which are sums over a whole forward.
    rounding = 16 * epsilon(training) * max(1.0, abs(value)) / step
    tolerance = (error + 8 * rounding) / size
    if tolerance > _SHARP:
        raise NotRunnable("The loss bends or rounds too much for a slope along its gradient.")
    return slope, size, tolerance


def _extrapolated(at: Callable[[float], float], step: float) -> tuple[float, float]:
    """(a function's slope at 0, how far it may be off), by central differences of three lengths.

    Two lengths cannot tell: where the third and the fifth derivative cancel out in what the two
    disagree by, they agree and are wrong. Source: Richardson's extrapolation, its error by the next
    one; of losses that are off by e each the slope is off by up to 6 e / step.
    """
    wide, half, quarter = ((at(h) - at(-h)) / (2 * h) for h in (step, step / 2, step / 4))
    before, slope = (4 * half - wide) / 3, (4 * quarter - half) / 3
    return slope, max(abs(quarter - half), abs(slope - before))
