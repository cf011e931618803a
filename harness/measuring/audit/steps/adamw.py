"""AdamW by its definition in float64, and how far a stored result may lie from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.measuring.audit.steps.watching import Step

# Roundings of one element in a step beside that of the weight: three for each moment, two bias
# corrections, root, sum with eps, quotient, product with the rate; doubled for the moments' past.
_ROUNDINGS = 24
# Since 2.8 torch's fused kernel computes its bias corrections on a GPU in the weights' own opmath
# (pytorch #154069): 1 - βᵗ of a power that CUDA's powf gives to within 4 units in its last place
# (CUDA's programming guide, single precision functions), which below 1 are 2⁻²⁴ each.
_POWER = 4


def excess(
    steps: Sequence[Step],
    groups_of: Mapping[str, int],
    names: Sequence[str],
    *,
    short_powers: bool = False,
) -> float:
    """The largest distance of a weight from float64's, in units of what its dtype may round.

    Loshchilov and Hutter (arXiv 1711.05101): decoupled decay, bias-corrected moments. At most 1
    is rounding: a step may round the weight twice (decay, sum), by half a unit in its last place
    each, and the update `_ROUNDINGS` times. groups_of: each parameter's group. short_powers: the
    bias corrections are differences of float32 powers and one.
    """
    import torch

    largest = 0.0
    for name in names:
        group = groups_of[name]
        weight = steps[0].before[name].double()
        weight_dtype = steps[0].before[name].dtype
        unit = torch.finfo(weight_dtype).eps / 2
        first, second = torch.zeros_like(weight), torch.zeros_like(weight)
        allowed = torch.zeros_like(weight)
        taken = 0
        for step in steps:
            gradient, settings = step.used[name], step.groups[group]
            if gradient is None:
                continue
            taken += 1
            beta1, beta2 = (float(beta) for beta in settings["betas"])
            rate, gradient = float(settings["lr"]), gradient.double()
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient.square()
            root = (second / (1 - beta2**taken)).sqrt() + float(settings["eps"])
            weight = weight * (1 - rate * float(settings["weight_decay"]))
            weight = weight - rate * first / (1 - beta1**taken) / root
            allowed += unit * (2 * weight.abs() + _ROUNDINGS * rate)
            if short_powers:
                # Of the second correction it is the root that counts: half of its relative error.
                powers = 1 / (1 - beta1**taken) + 0.5 / (1 - beta2**taken)
                allowed += _POWER * _short(weight_dtype) * powers * rate
        off = (steps[-1].after[name].double() - weight).abs()
        worst = torch.where(off > 0, off / allowed.clamp(min=torch.finfo(torch.float64).tiny), off)
        largest = max(largest, float(worst.max()) if worst.numel() else 0.0)
    return largest


def _short(dtype: Any) -> float:
    """Half a unit in the last place of what a GPU's kernels compute weights of a dtype in."""
    import torch

    opmath = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.finfo(opmath).eps / 2
