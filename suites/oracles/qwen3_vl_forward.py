"""Qwen3-VL's forward pass by its report (arXiv 2511.21631), in float64 by numpy: decoder, tower,
and what the tower's early blocks feed the decoder's first layers (DeepStack, arXiv 2406.04334)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics
from .ladder import Sample
from .qwen2_vl_forward import patch_angles

DECODER, SEES = "model.language_model", "model.visual"


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    pictures: Sequence[tuple[Any, tuple[int, int, int]]],
) -> Any:
    """float64 (tokens, vocabulary). pictures: normalised patches (patches, 1536) in the processor's
    order, and (frames, rows, columns) after merging."""
    text, ids = config["text_config"], np.asarray(sample.ids)
    hidden = weights[f"{DECODER}.embed_tokens.weight"][ids]
    shown = ids == picture_id
    fed: list[Any] = []
    if pictures:
        seen = [tower(weights, config["vision_config"], *picture) for picture in pictures]
        hidden[shown], *fed = (np.concatenate(each) for each in zip(*seen, strict=True))
    steps = numerics.frequencies(text["head_dim"], text["rope_theta"])
    sections = text["rope_scaling"]["mrope_section"]
    angles = numerics.interleaved(sample.positions, steps, sections)
    for number in range(text["num_hidden_layers"]):
        hidden = layer(weights, f"{DECODER}.layers.{number}", text, hidden, angles)
        if number < len(fed):
            hidden[shown] += fed[number]
    hidden = numerics.rms_norm(hidden, weights[f"{DECODER}.norm.weight"], text["rms_norm_eps"])
    tied = config.get("tie_word_embeddings")
    return hidden @ weights[f"{DECODER}.embed_tokens.weight" if tied else "lm_head.weight"].T


def layer(
    weights: numerics.Weights, at: str, text: Mapping[str, Any], hidden: Any, angles: Any
) -> Any:
    """One decoder layer: queries and keys normed head by head before they are turned, fewer key
    heads, SwiGLU."""

    def norm(name: str, x: Any) -> Any:
        return numerics.rms_norm(x, weights[f"{at}.{name}.weight"], text["rms_norm_eps"])

    def part(name: str, x: Any) -> Any:
        return numerics.linear(x, weights, f"{at}.{name}")

    x = norm("input_layernorm", hidden)
    q = numerics.heads(part("self_attn.q_proj", x), text["num_attention_heads"])
    k = numerics.heads(part("self_attn.k_proj", x), text["num_key_value_heads"])
    v = numerics.heads(part("self_attn.v_proj", x), text["num_key_value_heads"])
    q = numerics.rotated(norm("self_attn.q_norm", q), angles)
    k = numerics.rotated(norm("self_attn.k_norm", k), angles)
    mixed = numerics.attention(q, k, v, numerics.causal(len(x)))
    hidden = hidden + part("self_attn.o_proj", numerics.joined(mixed))
    x = norm("post_attention_layernorm", hidden)
    gated = numerics.silu(part("mlp.gate_proj", x)) * part("mlp.up_proj", x)
    return hidden + part("mlp.down_proj", gated)


def tower(
    weights: numerics.Weights,
    vision: Mapping[str, Any],
    patches: Any,
    merged: tuple[int, int, int],
) -> list[Any]:
    """float64 (tokens, width of the decoder), each: what enters it, then what its first layers are
    fed. One picture, every patch seeing every other."""
    width, count = vision["hidden_size"], vision["num_heads"]
    side = vision["spatial_merge_size"]
    kernel = weights[f"{SEES}.patch_embed.proj.weight"].reshape(width, -1)
    hidden = patches @ kernel.T + weights[f"{SEES}.patch_embed.proj.bias"]
    hidden = hidden + placed(weights[f"{SEES}.pos_embed.weight"], merged, side)
    angles = patch_angles(merged, side, width // count)
    everything = np.ones((len(hidden), len(hidden)), bool)
    fed = []
    for number in range(vision["depth"]):
        at = f"{SEES}.blocks.{number}"
        x = numerics.layer_norm(hidden, weights, f"{at}.norm1", 1e-6)
        q, k, v = np.split(numerics.linear(x, weights, f"{at}.attn.qkv"), 3, axis=-1)
        q, k = (numerics.rotated(numerics.heads(y, count), angles) for y in (q, k))
        mixed = numerics.attention(q, k, numerics.heads(v, count), everything)
        hidden = hidden + numerics.linear(numerics.joined(mixed), weights, f"{at}.attn.proj")
        x = numerics.layer_norm(hidden, weights, f"{at}.norm2", 1e-6)
        x = numerics.gelu_tanh(numerics.linear(x, weights, f"{at}.mlp.linear_fc1"))
        hidden = hidden + numerics.linear(x, weights, f"{at}.mlp.linear_fc2")
        if number in vision["deepstack_visual_indexes"]:
            # Four patches are normed together here, each by itself in the last merger.
            at = f"{SEES}.deepstack_merger_list.{len(fed)}"
            joined = hidden.reshape(-1, side * side * width)
            fed.append(merge(weights, at, numerics.layer_norm(joined, weights, f"{at}.norm", 1e-6)))
    at = f"{SEES}.merger"
    last = numerics.layer_norm(hidden, weights, f"{at}.norm", 1e-6)
    return [merge(weights, at, last.reshape(-1, side * side * width)), *fed]


def merge(weights: numerics.Weights, at: str, x: Any) -> Any:
    """Two Linears with a GELU between them."""
    x = numerics.gelu(numerics.linear(x, weights, f"{at}.linear_fc1"))
    return numerics.linear(x, weights, f"{at}.linear_fc2")


def placed(table: Any, merged: tuple[int, int, int], side: int) -> Any:
    """(patches, width) learned positions, in the order in which patches are merged. table: of a
    square of places, stretched over the picture so that their corners meet, and between places
    linearly by row and by column."""
    places = round(len(table) ** 0.5)
    square = table.reshape(places, places, -1)
    frames, rows, columns = merged

    def between(count: int) -> Any:
        """(count, places): how much of each place a row or a column gets."""
        at = np.linspace(0, places - 1, count)
        return np.clip(1 - np.abs(at[:, None] - np.arange(places)), 0, None)

    whole = np.einsum("hp,wq,pqc->hwc", between(rows * side), between(columns * side), square)
    tiles = whole.reshape(rows, side, columns, side, -1).transpose(0, 2, 1, 3, 4)
    return np.tile(tiles.reshape(rows * columns * side * side, -1), (frames, 1))
