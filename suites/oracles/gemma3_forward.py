"""Gemma 3 in float64, by its publication (arXiv 2503.19786) and SigLIP's (arXiv 2303.15343).

Layers of windows see the last `sliding_window` tokens, themselves among them, and turn by angles
of a base of their own; the others see everything before them, and their angles are those of
positions divided by a factor. The tokens of one picture see each other, whatever their order. Norms
keep what they multiply with less one. The embedding is scaled by the root of its width and is the
head; pictures' rows are not scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics, siglip
from .ladder import Sample

DECODER, TOWER = "language_model.model", "vision_tower.vision_model"
# What config.json leaves out, as the publisher's own configuration has it.
TEXT: Mapping[str, Any] = {
    "head_dim": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "sliding_window_pattern": 6,
    "vocab_size": 262_208,
}
VISION: Mapping[str, Any] = {"layer_norm_eps": 1e-6, "num_channels": 3}


def text_numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's."""
    return {**TEXT, **config["text_config"]}


def vision_numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The tower's."""
    return {**VISION, **config["vision_config"]}


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    pictures: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). pictures: uint8 (side, side, 3) each."""
    text = text_numbers(config)
    ids, table = np.asarray(sample.ids), weights[f"{DECODER}.embed_tokens.weight"]
    hidden = table[ids] * math.sqrt(text["hidden_size"])
    if pictures:
        hidden[ids == picture_id] = np.concatenate([seen(weights, config, p) for p in pictures])
    both_ways = numerics.causal(len(ids)) | together(ids == picture_id)
    places = np.arange(len(ids))
    window = both_ways & (places[:, None] - places < text["sliding_window"])
    (positions,) = np.asarray(sample.positions, np.float64)
    divided = positions / float((text.get("rope_scaling") or {}).get("factor", 1.0))
    steps = {
        name: numerics.frequencies(text["head_dim"], text[name])
        for name in ("rope_theta", "rope_local_base_freq")
    }
    for number in range(text["num_hidden_layers"]):
        everything = (number + 1) % text["sliding_window_pattern"] == 0
        if everything:
            angles, sees = divided[:, None] * steps["rope_theta"], both_ways
        else:
            angles, sees = positions[:, None] * steps["rope_local_base_freq"], window
        hidden = layer(weights, f"{DECODER}.layers.{number}", text, hidden, angles, sees)
    return norm(hidden, weights, f"{DECODER}.norm", text["rms_norm_eps"]) @ table.T


def seen(weights: numerics.Weights, config: Mapping[str, Any], picture: Any) -> Any:
    """float64 (tokens, width) of one picture: tower, then projection."""
    return projected(weights, config, tower(weights, config, picture))


def together(pictures: Any) -> Any:
    """bool (tokens, tokens): both of one picture. pictures: bool (tokens,); what stands between
    two pictures parts them."""
    begins = pictures & ~np.concatenate([[False], pictures[:-1]])
    number = np.cumsum(begins)
    return (number[:, None] == number) & pictures[:, None] & pictures


def norm(x: Any, weights: numerics.Weights, name: str, epsilon: float) -> Any:
    """RMS norm whose weight is stored less one."""
    return numerics.rms_norm(x, 1.0 + weights[f"{name}.weight"], epsilon)


def layer(
    weights: numerics.Weights,
    at: str,
    text: Mapping[str, Any],
    hidden: Any,
    angles: Any,
    sees: Any,
) -> Any:
    """One decoder layer: a norm before and one after both attention and the gated MLP."""
    epsilon = text["rms_norm_eps"]

    def part(name: str, x: Any) -> Any:
        return numerics.linear(x, weights, f"{at}.{name}")

    x = norm(hidden, weights, f"{at}.input_layernorm", epsilon)
    q = numerics.heads(part("self_attn.q_proj", x), text["num_attention_heads"])
    k = numerics.heads(part("self_attn.k_proj", x), text["num_key_value_heads"])
    v = numerics.heads(part("self_attn.v_proj", x), text["num_key_value_heads"])
    q = numerics.rotated(norm(q, weights, f"{at}.self_attn.q_norm", epsilon), angles)
    k = numerics.rotated(norm(k, weights, f"{at}.self_attn.k_norm", epsilon), angles)
    mixed = numerics.attention(q, k, v, sees, text["query_pre_attn_scalar"] ** -0.5)
    x = part("self_attn.o_proj", numerics.joined(mixed))
    hidden = hidden + norm(x, weights, f"{at}.post_attention_layernorm", epsilon)
    x = norm(hidden, weights, f"{at}.pre_feedforward_layernorm", epsilon)
    gated = numerics.gelu_tanh(part("mlp.gate_proj", x)) * part("mlp.up_proj", x)
    x = part("mlp.down_proj", gated)
    return hidden + norm(x, weights, f"{at}.post_feedforward_layernorm", epsilon)


def tower(weights: numerics.Weights, config: Mapping[str, Any], picture: Any) -> Any:
    """float64 (patches, width): every patch sees every other. picture: uint8 (side, side, 3)."""
    vision = vision_numbers(config)
    at = f"{TOWER}.embeddings"
    kernel = weights[f"{at}.patch_embedding.weight"]
    flat = patches(picture, vision["patch_size"]).reshape(-1, kernel[0].size)
    hidden = flat @ kernel.reshape(len(kernel), -1).T + weights[f"{at}.patch_embedding.bias"]
    hidden = hidden + weights[f"{at}.position_embedding.weight"]
    hidden = siglip.blocks(weights, TOWER, vision, hidden)
    epsilon = vision["layer_norm_eps"]
    return numerics.layer_norm(hidden, weights, f"{TOWER}.post_layernorm", epsilon)


def patches(picture: Any, side: int) -> Any:
    """float64 (patches, 3, side, side), row by row, levels from -1 to 1."""
    values = np.asarray(picture, np.float64).transpose(2, 0, 1) / 127.5 - 1.0
    rows, columns = values.shape[1] // side, values.shape[2] // side
    split = values.reshape(3, rows, side, columns, side)
    return split.transpose(1, 3, 0, 2, 4).reshape(-1, 3, side, side)


def projected(weights: numerics.Weights, config: Mapping[str, Any], hidden: Any) -> Any:
    """float64 (tokens, width of the decoder): means of squares of patches, normed, projected."""
    vision = vision_numbers(config)
    side = vision["image_size"] // vision["patch_size"]
    tokens = math.isqrt(config["mm_tokens_per_image"])
    square = side // tokens
    split = hidden.reshape(tokens, square, tokens, square, -1)
    pooled = split.mean(axis=(1, 3)).reshape(tokens * tokens, -1)
    at = "multi_modal_projector"
    x = norm(pooled, weights, f"{at}.mm_soft_emb_norm", vision["layer_norm_eps"])
    return x @ weights[f"{at}.mm_input_projection_weight"]
