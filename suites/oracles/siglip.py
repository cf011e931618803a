"""SigLIP's tower (arXiv 2303.15343), as several families have it: patches in learnt places, and
blocks in which every patch sees every other. What a family makes of its last block's is its own.

vision: the tower's numbers. at: what its names begin with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import numerics
from .architecture import Shape

Numbers = Mapping[str, Any]


def linears(vision: Numbers, at: str) -> dict[str, Shape]:
    """Every Linear's (out, in)."""
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    shapes: dict[str, Shape] = {}
    for i in range(vision["num_hidden_layers"]):
        block = f"{at}.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{block}.self_attn.{name}"] = (width, width)
        shapes[f"{block}.mlp.fc1"], shapes[f"{block}.mlp.fc2"] = (inner, width), (width, inner)
    return shapes


def rest(vision: Numbers, at: str) -> dict[str, Shape]:
    """Every parameter but the Linears'."""
    width, patch = vision["hidden_size"], vision["patch_size"]
    places = (vision["image_size"] // patch) ** 2
    shapes: dict[str, Shape] = {
        f"{at}.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        f"{at}.embeddings.patch_embedding.bias": (width,),
        f"{at}.embeddings.position_embedding.weight": (places, width),
    }
    blocks = [f"encoder.layers.{i}" for i in range(vision["num_hidden_layers"])]
    for norm in (*(f"{b}.layer_norm{n}" for b in blocks for n in (1, 2)), "post_layernorm"):
        shapes[f"{at}.{norm}.weight"] = shapes[f"{at}.{norm}.bias"] = (width,)
    return shapes


def embedded(weights: numerics.Weights, at: str, tile: Any) -> Any:
    """float64 (patches, width), row by row, without places. tile: normalised (3, side, side)."""
    matrix = weights[f"{at}.embeddings.patch_embedding.weight"]
    patch = matrix.shape[-1]
    rows, columns = (n // patch for n in tile.shape[1:])
    whole = tile[:, : rows * patch, : columns * patch].reshape(3, rows, patch, columns, patch)
    flat = whole.transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    bias = weights[f"{at}.embeddings.patch_embedding.bias"]
    return flat @ matrix.reshape(len(matrix), -1).T + bias


def blocks(weights: numerics.Weights, at: str, vision: Numbers, hidden: Any) -> Any:
    """float64 (patches, width): what leaves the last one, not yet normed."""
    everything = np.ones((len(hidden), len(hidden)), bool)
    epsilon, count = vision["layer_norm_eps"], vision["num_attention_heads"]
    for i in range(vision["num_hidden_layers"]):
        block = f"{at}.encoder.layers.{i}"
        x = numerics.layer_norm(hidden, weights, f"{block}.layer_norm1", epsilon)
        q, k, v = (
            numerics.heads(numerics.linear(x, weights, f"{block}.self_attn.{name}_proj"), count)
            for name in "qkv"
        )
        mixed = numerics.joined(numerics.attention(q, k, v, everything))
        hidden = hidden + numerics.linear(mixed, weights, f"{block}.self_attn.out_proj")
        x = numerics.layer_norm(hidden, weights, f"{block}.layer_norm2", epsilon)
        x = numerics.gelu_tanh(numerics.linear(x, weights, f"{block}.mlp.fc1"))
        hidden = hidden + numerics.linear(x, weights, f"{block}.mlp.fc2")
    return hidden
