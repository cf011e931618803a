"""Floating-point operations of one Qwen2-VL training step, from the config and the lengths.

A product of (m, k) by (k, n) counts 2 m k n. The base is frozen: a Linear costs its forward and
the gradient of its input, where that input has one. Attention is counted as two full products
over the padded length, as an implementation without causal skipping executes it. Norms,
activations and the embedding look-up are no matrix products and count nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .footprint import linears, vision_numbers

RANK = 8


def decoder(config: Mapping[str, Any]) -> int:
    """Weights of the decoder's Linears (without the output head)."""
    return sum(math.prod(s) for n, s in linears(config).items() if n.startswith("model."))


def head(config: Mapping[str, Any]) -> int:
    """Weights of the output head."""
    return int(config["vocab_size"] * config["hidden_size"])


def vision_forward(config: Mapping[str, Any], patches: Sequence[int]) -> int:
    """Vision tower over pictures of that many patches, each attending to itself alone."""
    v = vision_numbers(config)
    total = sum(patches)
    blocks = sum(math.prod(s) for n, s in linears(config).items() if n.startswith("visual.blocks"))
    merger = sum(math.prod(s) for n, s in linears(config).items() if n.startswith("visual.merger"))
    patch = v["in_chans"] * v["temporal_patch_size"] * v["patch_size"] ** 2 * v["embed_dim"]
    attended = sum(n * n for n in patches) * v["embed_dim"] * v["depth"]
    merged = total // v["spatial_merge_size"] ** 2
    return 2 * total * (blocks + patch) + 2 * merged * merger + 4 * attended


def adapters(config: Mapping[str, Any]) -> tuple[int, int]:
    """Weights of the A and of the B matrices of one layer (q_proj and v_proj)."""
    shapes = [linears(config)[f"model.layers.0.self_attn.{n}_proj"] for n in "qv"]
    return sum(RANK * s[1] for s in shapes), sum(RANK * s[0] for s in shapes)


def rotary(config: Mapping[str, Any], batch: int, length: int) -> int:
    """The rotary angles: a product of frequencies by positions, for three axes, until transformers
    4; in 5 an elementwise one, which counts nothing."""
    half_head = int(config["hidden_size"]) // config["num_attention_heads"] // 2
    return int(2 * 3 * batch * half_head * length)


def forward(config: Mapping[str, Any], batch: int, length: int, patches: Sequence[int]) -> int:
    """Forward pass with LoRA; logits at every position."""
    tokens, layers = batch * length, int(config["num_hidden_layers"])
    a, b = adapters(config)
    attention = 4 * batch * length**2 * config["hidden_size"]
    text = 2 * tokens * (decoder(config) + head(config) + layers * (a + b)) + layers * attention
    return int(text + rotary(config, batch, length) + vision_forward(config, patches))


def backward(
    config: Mapping[str, Any], batch: int, length: int, *, inputs_have_gradients: bool
) -> int:
    """Backward pass. The vision tower is frozen and has no trainable input: nothing.

    inputs_have_gradients: whether the embeddings are made to require gradients (as gradient
    checkpointing makes them); if not, the first layer needs none for its q, k, v inputs.
    """
    tokens, layers = batch * length, int(config["num_hidden_layers"])
    hidden = config["hidden_size"]
    a, b = adapters(config)
    attention = 8 * batch * length**2 * hidden
    total = 2 * tokens * (decoder(config) + head(config))
    total += layers * (4 * tokens * (a + b) + attention)
    if not inputs_have_gradients:
        first = [linears(config)[f"model.layers.0.self_attn.{n}_proj"] for n in "qkv"]
        # No gradient for the inputs of q, k, v and of the A matrices, none for the keys.
        total -= 2 * tokens * sum(math.prod(s) for s in first) + 2 * tokens * a
        total -= 2 * batch * length**2 * hidden
    return int(total)


def recomputed(config: Mapping[str, Any], batch: int, length: int) -> int:
    """What non-reentrant checkpointing runs again: every layer up to, not including, down_proj,
    which is frozen and last, so nothing saved depends on its output."""
    tokens, layers = batch * length, int(config["num_hidden_layers"])
    a, b = adapters(config)
    down = config["intermediate_size"] * config["hidden_size"]
    attention = 4 * batch * length**2 * config["hidden_size"]
    again = decoder(config) + layers * (a + b - down)
    return int(2 * tokens * again + layers * attention)


def across(config: Mapping[str, Any], patches: Sequence[int]) -> int:
    """What is added where every picture of a batch attends to all of them, masked afterwards."""
    v = vision_numbers(config)
    return 4 * (sum(patches) ** 2 - sum(n * n for n in patches)) * v["embed_dim"] * v["depth"]


def tower_again(config: Mapping[str, Any], patches: Sequence[int]) -> int:
    """What is added where a frozen tower's input requires gradients under checkpointing: its blocks
    run again up to, not including, their last Linear, and all behind the patch embedding runs
    backward."""
    v = vision_numbers(config)
    total, last = sum(patches), v["embed_dim"] ** 2 * v["mlp_ratio"] * v["depth"]
    patch = v["in_chans"] * v["temporal_patch_size"] * v["patch_size"] ** 2 * v["embed_dim"]
    attended = 4 * sum(n * n for n in patches) * v["embed_dim"] * v["depth"]
    merged = total // v["spatial_merge_size"] ** 2
    merger = sum(math.prod(s) for n, s in linears(config).items() if n.startswith("visual.merger"))
    blocks = vision_forward(config, patches) - 2 * total * patch - 2 * merged * merger - attended
    return int(2 * blocks - 2 * total * last + 3 * attended + 2 * merged * merger)


def step(
    config: Mapping[str, Any], batch: int, length: int, patches: Sequence[int]
) -> dict[str, int]:
    """By mode: the forward pass, with the backward one, and with checkpointing."""
    sizes = (config, batch, length)
    going = forward(*sizes, patches)
    return {
        "forward": going,
        "step": going + backward(*sizes, inputs_have_gradients=False),
        "step_checkpointed": going
        + backward(*sizes, inputs_have_gradients=True)
        + recomputed(*sizes),
    }


def useful(
    config: Mapping[str, Any], true_tokens: int, trained: int, patches: Sequence[int]
) -> int:
    """Work that a step cannot do without: 4 P per true token, the head where there is a label,
    the vision tower forward."""
    return int(
        4 * decoder(config) * true_tokens
        + 4 * head(config) * trained
        + vision_forward(config, patches)
    )
