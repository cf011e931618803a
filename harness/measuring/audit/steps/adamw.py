"""AdamW by its definition in float64, and how far a stored result may lie from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.measuring.audit.steps.watching import Step

# Roundings of one element in a step beside that of the weight: three for each moment, two bias
# corrections, root, sum with eps, quotient, product with the rate; doubled for the moments' past.
_ROUNDINGS = 24


def excess(steps: Sequence[Step], groups_of: Mapping[str, int], names: Sequence[str]) -> float:
    """The largest distance of a weight from float64's, in units of what its dtype may round.

    Loshchilov and Hutter (arXiv 1711.05101): decoupled decay, bias-corrected moments. At most 1
    is rounding: a step may round the weight twice (decay, sum), by half a unit in its last place
    each, and the update `_ROUNDINGS` times. groups_of: each parameter's group.
    """
    import torch

    largest = 0.0
    for name in names:
        group = groups_of[name]
        weight = steps[0].before[name].double()
        unit = torch.finfo(steps[0].before[name].dtype).eps / 2
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
        off = (steps[-1].after[name].double() - weight).abs()
        worst = torch.where(off > 0, off / allowed.clamp(min=torch.finfo(torch.float64).tiny), off)
        largest = max(largest, float(worst.max()) if worst.numel() else 0.0)
    return largest
