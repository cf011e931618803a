"""Qwen2-VL's decoder and tower by arXiv 2409.12191 and the config's numbers, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics
from .ladder import Sample


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    pictures: Sequence[tuple[Any, tuple[int, int, int]]],
) -> Any:
    """float64 (tokens, vocabulary). pictures: normalised patches (patches, 1176) in the processor's
    order, and (frames, rows, columns) after merging."""
    seen = [tower(weights, config["vision_config"], *picture) for picture in pictures]
    return decoder(weights, config, sample, picture_id, seen)


def decoder(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    seen: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). seen: by picture what the tower makes of it (tokens, width)."""
    ids = np.asarray(sample.ids)
    hidden = weights["model.embed_tokens.weight"][ids]
    if seen:
        hidden[ids == picture_id] = np.concatenate(seen)
    width = config["hidden_size"] // config["num_attention_heads"]
    sections = config["rope_scaling"]["mrope_section"]
    steps = numerics.frequencies(width, config["rope_theta"])
    angles = numerics.by_sections(sample.positions, steps, sections)
    for number in range(config["num_hidden_layers"]):
        hidden = layer(weights, f"model.layers.{number}", config, hidden, angles)
    hidden = numerics.rms_norm(hidden, weights["model.norm.weight"], config["rms_norm_eps"])
    tied = config.get("tie_word_embeddings")
    return hidden @ weights["model.embed_tokens.weight" if tied else "lm_head.weight"].T


def layer(
    weights: numerics.Weights, at: str, config: Mapping[str, Any], hidden: Any, angles: Any
) -> Any:
    """One decoder layer: attention with fewer key heads, SwiGLU."""

    def norm(name: str, x: Any) -> Any:
        return numerics.rms_norm(x, weights[f"{at}.{name}.weight"], config["rms_norm_eps"])

    def part(name: str, x: Any) -> Any:
        return numerics.linear(x, weights, f"{at}.{name}")

    x = norm("input_layernorm", hidden)
    q = numerics.heads(part("self_attn.q_proj", x), config["num_attention_heads"])
    k = numerics.heads(part("self_attn.k_proj", x), config["num_key_value_heads"])
    v = numerics.heads(part("self_attn.v_proj", x), config["num_key_value_heads"])
    q, k = numerics.rotated(q, angles), numerics.rotated(k, angles)
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
) -> Any:
    """float64 (tokens, width of the decoder): one picture, every patch seeing every other."""
    width = weights["visual.patch_embed.proj.weight"].shape[0]
    hidden = patches @ weights["visual.patch_embed.proj.weight"].reshape(width, -1).T
    side, count = vision["spatial_merge_size"], vision["num_heads"]
    angles = patch_angles(merged, side, width // count)
    everything = np.ones((len(hidden), len(hidden)), bool)
    for number in range(vision["depth"]):
        at = f"visual.blocks.{number}"
        x = numerics.layer_norm(hidden, weights, f"{at}.norm1", 1e-6)
        q, k, v = np.split(numerics.linear(x, weights, f"{at}.attn.qkv"), 3, axis=-1)
        q, k = (numerics.rotated(numerics.heads(y, count), angles) for y in (q, k))
        mixed = numerics.attention(q, k, numerics.heads(v, count), everything)
        hidden = hidden + numerics.linear(numerics.joined(mixed), weights, f"{at}.attn.proj")
        x = numerics.layer_norm(hidden, weights, f"{at}.norm2", 1e-6)
        x = numerics.quick_gelu(numerics.linear(x, weights, f"{at}.mlp.fc1"))
        hidden = hidden + numerics.linear(x, weights, f"{at}.mlp.fc2")
    x = numerics.layer_norm(hidden, weights, "visual.merger.ln_q", 1e-6)
    x = x.reshape(-1, side * side * width)
    x = numerics.gelu(numerics.linear(x, weights, "visual.merger.mlp.0"))
    return numerics.linear(x, weights, "visual.merger.mlp.2")


def patch_angles(merged: tuple[int, int, int], side: int, width: int) -> Any:
    """(patches, head width / 2): half of the frequencies by the patch's row, half by its column, in
    the order in which patches are merged."""
    frames, rows, columns = merged
    steps = numerics.frequencies(width // 2, 10000.0)
    places = [
        (row * side + r, column * side + c)
        for _ in range(frames)
        for row in range(rows)
        for column in range(columns)
        for r in range(side)
        for c in range(side)
    ]
    turns = np.asarray(places, np.float64)[..., None] * steps
    return turns.reshape(len(places), -1)
