"""Gemma 4 in float64, by its published configuration and the description of its parts.

Decoder: layers with windows see the last `sliding_window` tokens and, in the larger sizes, the
other tokens of a picture; full layers see what stands before them, have wider heads and turn a
part of them. Queries, keys and values are normed by head and scores are not scaled. Full layers
may take their keys as values. The last layers take keys and values of the last layer of their
kind before them, and may be twice as wide inside. A second table gives every token a small vector
a layer; with a projection of the embedding it is gated into the layer's output. Tower: patches at
(column, row), each half of a head turned by one of them, Linears that clip what comes in and goes
out, means of squares of patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics
from .gemma3_forward import together
from .ladder import Sample

DECODER, TOWER = "model.language_model", "model.vision_tower"
WINDOW = "sliding_attention"


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    pictures: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). pictures: uint8 (height, width, 3) each."""
    text = config["text_config"]
    ids, table = np.asarray(sample.ids), weights[f"{DECODER}.embed_tokens.weight"]
    is_picture = ids == picture_id
    hidden = table[ids] * math.sqrt(text["hidden_size"])
    if pictures:
        hidden[is_picture] = np.concatenate([seen(weights, config, p) for p in pictures])
    by_layer = layer_inputs(weights, text, np.where(is_picture, 0, ids), hidden)
    places, before = np.arange(len(ids)), numerics.causal(len(ids))
    both = text.get("use_bidirectional_attention") == "vision"
    near = (before | together(is_picture)) if both else before
    sees = {
        WINDOW: near & (places[:, None] - places < text["sliding_window"]),
        "full_attention": before,
    }
    (positions,) = np.asarray(sample.positions, np.float64)
    shared: dict[str, Any] = {}
    for number in range(text["num_hidden_layers"]):
        kind = text["layer_types"][number]
        mixed = attention(weights, number, text, hidden, positions, sees[kind], shared)
        hidden = layer(weights, number, text, hidden, mixed, by_layer)
    hidden = norm(hidden, weights, f"{DECODER}.norm", text)
    limit = text["final_logit_softcapping"]
    return limit * np.tanh(hidden @ table.T / limit)


def norm(x: Any, weights: numerics.Weights, name: str, numbers: Mapping[str, Any]) -> Any:
    """RMS norm; no weight where none is kept."""
    weight = weights.get(f"{name}.weight", 1.0)
    return numerics.rms_norm(x, weight, numbers["rms_norm_eps"])


def layer_inputs(
    weights: numerics.Weights, text: Mapping[str, Any], ids: Any, hidden: Any
) -> Any | None:
    """float64 (layers, tokens, width of the second table); None without one. A picture's tokens
    have that of padding, id 0."""
    width = text["hidden_size_per_layer_input"]
    if not width:
        return None
    own = weights[f"{DECODER}.embed_tokens_per_layer.weight"][ids] * math.sqrt(width)
    context = numerics.linear(hidden, weights, f"{DECODER}.per_layer_model_projection")
    context = (context / math.sqrt(text["hidden_size"])).reshape(len(ids), -1, width)
    context = norm(context, weights, f"{DECODER}.per_layer_projection_norm", text)
    return ((context + own.reshape(context.shape)) / math.sqrt(2.0)).transpose(1, 0, 2)


def attention(
    weights: numerics.Weights,
    number: int,
    text: Mapping[str, Any],
    hidden: Any,
    positions: Any,
    sees: Any,
    shared: dict[str, Any],
) -> Any:
    """What a layer adds of other tokens. shared: (keys, values) by kind of the last layer that has
    its own; written by those that do."""
    at, kind = f"{DECODER}.layers.{number}", text["layer_types"][number]
    rope = text["rope_parameters"][kind]
    full = kind != WINDOW
    width = text["global_head_dim"] if full else text["head_dim"]
    as_values = full and text["attention_k_eq_v"]
    keys = text["num_global_key_value_heads"] if as_values else text["num_key_value_heads"]
    steps = numerics.frequencies(width, rope["rope_theta"])
    # The slower frequencies of a full layer's head turn nothing.
    steps[int(rope.get("partial_rotary_factor", 1.0) * width // 2) :] = 0.0
    angles = positions[:, None] * steps
    x = norm(hidden, weights, f"{at}.input_layernorm", text)

    def heads(name: str, count: int) -> Any:
        return numerics.heads(numerics.linear(x, weights, f"{at}.self_attn.{name}"), count)

    q = norm(heads("q_proj", text["num_attention_heads"]), weights, f"{at}.self_attn.q_norm", text)
    if number < text["num_hidden_layers"] - text["num_kv_shared_layers"]:
        k = heads("k_proj", keys)
        v = k if as_values else heads("v_proj", keys)
        k = numerics.rotated(norm(k, weights, f"{at}.self_attn.k_norm", text), angles)
        shared[kind] = k, norm(v, weights, "a norm without a weight", text)
    k, v = shared[kind]
    mixed = numerics.joined(numerics.attention(numerics.rotated(q, angles), k, v, sees, 1.0))
    return numerics.linear(mixed, weights, f"{at}.self_attn.o_proj")


def layer(
    weights: numerics.Weights,
    number: int,
    text: Mapping[str, Any],
    hidden: Any,
    mixed: Any,
    by_layer: Any | None,
) -> Any:
    """The rest of one decoder layer; a number of its own scales all of it."""
    at = f"{DECODER}.layers.{number}"
    hidden = hidden + norm(mixed, weights, f"{at}.post_attention_layernorm", text)
    x = norm(hidden, weights, f"{at}.pre_feedforward_layernorm", text)
    x = gated(weights, f"{at}.mlp", x, numerics.linear)
    hidden = hidden + norm(x, weights, f"{at}.post_feedforward_layernorm", text)
    if by_layer is not None:
        x = numerics.gelu_tanh(numerics.linear(hidden, weights, f"{at}.per_layer_input_gate"))
        x = numerics.linear(x * by_layer[number], weights, f"{at}.per_layer_projection")
        hidden = hidden + norm(x, weights, f"{at}.post_per_layer_input_norm", text)
    return hidden * weights[f"{at}.layer_scalar"]


def gated(weights: numerics.Weights, at: str, x: Any, linear: Any) -> Any:
    """GELU's gate."""
    gate = numerics.gelu_tanh(linear(x, weights, f"{at}.gate_proj"))
    return linear(gate * linear(x, weights, f"{at}.up_proj"), weights, f"{at}.down_proj")


def clipped(x: Any, weights: numerics.Weights, name: str) -> Any:
    """A Linear whose input and output are kept between bounds, where the checkpoint has them."""
    if f"{name}.input_min" in weights:
        x = x.clip(weights[f"{name}.input_min"], weights[f"{name}.input_max"])
    x = numerics.linear(x, weights, f"{name}.linear")
    if f"{name}.output_min" in weights:
        x = x.clip(weights[f"{name}.output_min"], weights[f"{name}.output_max"])
    return x


def seen(weights: numerics.Weights, config: Mapping[str, Any], picture: Any) -> Any:
    """float64 (tokens, width) of one picture: tower, then projection."""
    return projected(weights, config, tower(weights, config, picture))


def tower(weights: numerics.Weights, config: Mapping[str, Any], picture: Any) -> Any:
    """float64 (tokens, width). picture: uint8 (height, width, 3), sides of whole squares of
    patches."""
    vision = config["vision_config"]
    side, square = vision["patch_size"], vision["pooling_kernel_size"]
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    tiles = picture.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    flat = tiles.reshape(rows * columns, -1) / 127.5 - 1.0
    row, column = (grid.reshape(-1) for grid in np.indices((rows, columns)))
    table = weights[f"{TOWER}.patch_embedder.position_embedding_table"]
    hidden = numerics.linear(flat, weights, f"{TOWER}.patch_embedder.input_proj")
    hidden = hidden + table[0][column] + table[1][row]
    steps = numerics.frequencies(vision["head_dim"] // 2, 100.0)
    angles = column[:, None] * steps, row[:, None] * steps
    for number in range(vision["num_hidden_layers"]):
        hidden = block(weights, f"{TOWER}.encoder.layers.{number}", vision, hidden, angles)
    split = hidden.reshape(rows // square, square, columns // square, square, -1)
    pooled = split.mean(axis=(1, 3)).reshape(-1, hidden.shape[-1]) * math.sqrt(hidden.shape[-1])
    if vision["standardize"]:
        pooled = (pooled - weights[f"{TOWER}.std_bias"]) * weights[f"{TOWER}.std_scale"]
    return pooled


def block(
    weights: numerics.Weights,
    at: str,
    vision: Mapping[str, Any],
    hidden: Any,
    angles: tuple[Any, Any],
) -> Any:
    """One block of the tower. angles: of the first and of the second half of a head."""
    x = norm(hidden, weights, f"{at}.input_layernorm", vision)

    def heads(name: str) -> Any:
        count = vision["num_attention_heads" if name == "q" else "num_key_value_heads"]
        y = numerics.heads(clipped(x, weights, f"{at}.self_attn.{name}_proj"), count)
        return norm(y, weights, f"{at}.self_attn.{name}_norm", vision)

    def turned(y: Any) -> Any:
        halves = zip(np.split(y, 2, axis=-1), angles, strict=True)
        return np.concatenate([numerics.rotated(half, turns) for half, turns in halves], axis=-1)

    everything = np.ones((len(hidden), len(hidden)), bool)
    mixed = numerics.attention(turned(heads("q")), turned(heads("k")), heads("v"), everything, 1.0)
    x = clipped(numerics.joined(mixed), weights, f"{at}.self_attn.o_proj")
    hidden = hidden + norm(x, weights, f"{at}.post_attention_layernorm", vision)
    x = norm(hidden, weights, f"{at}.pre_feedforward_layernorm", vision)
    x = gated(weights, f"{at}.mlp", x, clipped)
    return hidden + norm(x, weights, f"{at}.post_feedforward_layernorm", vision)


def projected(weights: numerics.Weights, config: Mapping[str, Any], hidden: Any) -> Any:
    """float64 (tokens, width of the decoder)."""
    x = norm(hidden, weights, "a norm without a weight", config["vision_config"])
    return numerics.linear(x, weights, "model.embed_vision.embedding_projection")
