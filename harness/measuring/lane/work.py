"""FLOPs of one micro-batch as a variant executes them, from shapes and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.measuring.instruments.work import Lengths, matrices, useful_flops, vision_flops
from harness.measuring.models import parts
from harness.recipe.ways import Variant
from harness.records.components import Component

# Backward of attention multiplies four products of the forward's two, and the fused kernels
# make the scores once more (Dao 2023, arXiv 2307.08691, section 3.1: five against two).
ATTENTION_BACKWARD = 2.5


@dataclass(frozen=True)
class Work:
    """FLOPs. useful: on true tokens, where there is a label, and only what the variant must do.
    executed: with padding, recomputation and logits at every position."""

    useful: int
    executed: int


def last_linear(layer: Any) -> int:
    """Elements of the Linear that a decoder layer ends with: they are defined in that order."""
    import torch

    linears = [m for m in layer.modules() if isinstance(m, torch.nn.Linear)]
    return int(linears[-1].weight.numel())


def work(model: Any, lengths: Lengths, variant: Variant) -> Work:
    """Of one micro-batch. model: the architecture with unpacked shapes (meta device).

    Linears: 2 FLOPs per weight and token forward, 2 for the input gradient (the base is frozen).
    Checkpointing runs a layer's forward again but for its last frozen Linear, whose output
    nobody needs. Left out, together under 1 %: LoRA's own products, the first layer's
    needless input gradient, norms and the loss.
    """
    sizes = matrices(model)
    language, head = sizes[Component.LANGUAGE], sizes[Component.HEAD]
    last = sum(last_linear(layer) for layer in parts(model).layers)
    config = (
        model.config.get_text_config()
        if hasattr(model.config, "get_text_config")
        else (model.config)
    )
    padded = lengths.batch * lengths.length
    vision = vision_flops(model, lengths.patches)
    cached = variant.tower == "cached"
    linears = 4 * language + 2 * (language - last) * variant.checkpointing
    positions = padded if variant.head == "library" else lengths.trained
    scores = 4 * padded * lengths.length * int(config.hidden_size) * int(config.num_hidden_layers)
    attention = scores * (1 + ATTENTION_BACKWARD + variant.checkpointing)
    executed = linears * padded + 4 * head * positions + attention
    return Work(
        useful_flops(model, lengths) - (vision if cached else 0),
        int(executed) + (0 if cached else vision),
    )
