"""How far the losses of right computations lie apart, because each rounds otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.measuring.audit.scoring import Scored, epsilon, score
from harness.measuring.audit.training import Training

# A decoder layer's roundings of the residual stream: two norms, four products, two sums.
_PER_LAYER = 8
# Relative error of the exponential in attention, in units of float32's epsilon, the largest of any
# kernel's: torch's on a CPU (`exp_u20` in FlashAttentionKernel.cpp, accurate to 20 ulp).
_EXPONENTIAL = 20
_FLOAT32 = 2.0**-24
# Each of the computations that are compared is off by as much.
_TWO = 2
_DRAWS = 3


def noise(training: Training, inputs: Mapping[str, Any], scored: Scored) -> float:
    """How far a target's loss (nats) may move between two computations that differ only in how
    they round: the larger of what the logits allow and of what this model makes of roundings.

    inputs: a batch; scored: its losses as they are. Four more forward passes. Only inside
    `restored`, in evaluation.
    """
    least = _TWO * _of_logits(training, scored.largest)
    again = score(training, inputs).losses
    if float((again - scored.losses).abs().max()) > least:
        return least  # What it makes of roundings is lost in what it draws each time.
    return max(least, _TWO * _amplified(training, inputs, scored))


def _of_logits(training: Training, largest: float) -> float:
    """By the size of the logits, a loss being no steeper in each than they are large.

    Each layer rounds the residual stream about eight times, relative to what the stream holds and
    independently, so that the errors add up by the root of their number. Inside each product as
    many terms are summed as the decoder is wide, in float32 whatever the weights are stored in.
    """
    layers = 1 + len(training.structure.layers)
    stored = epsilon(training) * (_PER_LAYER * layers) ** 0.5
    summed = _FLOAT32 * (layers * _width(training)) ** 0.5
    return max(1.0, largest) * (stored + summed)


def _amplified(training: Training, inputs: Mapping[str, Any], scored: Scored) -> float:
    """The most that a target's loss moves where the stream is rounded otherwise behind every
    layer: attention without a scale is far steeper than its logits are large."""
    with _rounded_otherwise(training):
        moved = [score(training, inputs).losses - scored.losses for _ in range(_DRAWS)]
    return max(float(each.abs().max()) for each in moved)


@contextmanager
def _rounded_otherwise(training: Training) -> Iterator[None]:
    """Every element of every decoder layer's output is off by a drawn share of itself, normally
    distributed, as large as a layer's roundings are together; torch's own generators stay as they
    are."""
    import torch

    share = epsilon(training) * _PER_LAYER**0.5
    share += _FLOAT32 * (_width(training) ** 0.5 + _EXPONENTIAL)
    drawn = torch.Generator().manual_seed(0)

    def shaken(_: Any, __: Any, output: Any) -> Any:
        stream = output[0] if isinstance(output, tuple) else output
        off = torch.randn(stream.shape, generator=drawn).to(stream.device)
        wide = stream.to(torch.promote_types(stream.dtype, torch.float32))
        moved = (wide * (1 + share * off)).to(stream.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    hooks = [layer.register_forward_hook(shaken) for _, layer in training.structure.layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _width(training: Training) -> int:
    """Of the residual stream."""
    return int(training.core.get_input_embeddings().weight.shape[-1])
