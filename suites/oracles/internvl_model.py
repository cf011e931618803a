"""InternVL3's matrices and its forward pass, in float64 by numpy: InternViT (arXiv 2312.14238: a
class token, learned places, blocks that scale what they add as in arXiv 2103.17239), pixel shuffle
and a connector of two layers (arXiv 2404.16821), Qwen2.5 (arXiv 2412.15115).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics
from .architecture import Architecture, Shape
from .ladder import Sample

TEXT, HEAD = "language_model.model", "language_model.lm_head"
VISION, CONNECTOR = "vision_tower", "multi_modal_projector"
NORMS = ("layernorm_before", "layernorm_after")
# Of the queries' and keys' norms, and of the connector's: the config says none.
EPSILON, CONNECTOR_EPSILON = 1e-6, 1e-5


def factor_of(config: Mapping[str, Any]) -> int:
    """Patches along each side of what becomes one token."""
    return round(1 / config["downsample_ratio"])


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    text, vision = config["text_config"], config["vision_config"]
    width, inner = text["hidden_size"], text["intermediate_size"]
    keys = width // text["num_attention_heads"] * text["num_key_value_heads"]
    shapes: dict[str, Shape] = {}
    for i in range(text["num_hidden_layers"]):
        at = f"{TEXT}.layers.{i}"
        shapes[f"{at}.self_attn.q_proj"] = shapes[f"{at}.self_attn.o_proj"] = (width, width)
        shapes[f"{at}.self_attn.k_proj"] = shapes[f"{at}.self_attn.v_proj"] = (keys, width)
        shapes[f"{at}.mlp.gate_proj"] = shapes[f"{at}.mlp.up_proj"] = (inner, width)
        shapes[f"{at}.mlp.down_proj"] = (width, inner)
    seen, wide = vision["hidden_size"], vision["intermediate_size"]
    for i in range(vision["num_hidden_layers"]):
        at = f"{VISION}.encoder.layer.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "projection_layer"):
            shapes[f"{at}.attention.{name}"] = (seen, seen)
        shapes[f"{at}.mlp.fc1"], shapes[f"{at}.mlp.fc2"] = (wide, seen), (seen, wide)
    shapes[f"{CONNECTOR}.linear_1"] = (width, seen * factor_of(config) ** 2)
    shapes[f"{CONNECTOR}.linear_2"] = (width, width)
    shapes[HEAD] = (text["vocab_size"], width)
    return shapes


def is_biased(name: str, vision: Mapping[str, Any]) -> bool:
    """Of a Linear: the decoder's queries, keys and values, what the tower's config says of its own,
    and all else that sees pictures."""
    last = name.rpartition(".")[2]
    into = last in ("q_proj", "k_proj", "v_proj")
    if name.startswith("language_model."):
        return into
    return bool(vision["attention_bias"]) if into else True


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape, by canonical name."""
    text, vision = config["text_config"], config["vision_config"]
    width, seen = text["hidden_size"], vision["hidden_size"]
    shapes: dict[str, Shape] = {f"{TEXT}.embed_tokens.weight": (text["vocab_size"], width)}
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if is_biased(name, vision):
            shapes[f"{name}.bias"] = shape[:1]
    for i in range(text["num_hidden_layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{TEXT}.layers.{i}.{norm}.weight"] = (width,)
    shapes[f"{TEXT}.norm.weight"] = (width,)
    (high, wide), (tall, broad) = vision["image_size"], vision["patch_size"]
    embeddings = f"{VISION}.embeddings"
    shapes[f"{embeddings}.cls_token"] = (1, 1, seen)
    shapes[f"{embeddings}.position_embeddings"] = (1, high // tall * (wide // broad) + 1, seen)
    patch = (vision["num_channels"], tall, broad)
    shapes[f"{embeddings}.patch_embeddings.projection.weight"] = (seen, *patch)
    shapes[f"{embeddings}.patch_embeddings.projection.bias"] = (seen,)
    for i in range(vision["num_hidden_layers"]):
        at = f"{VISION}.encoder.layer.{i}"
        vectors = ["lambda_1", "lambda_2", *(f"{norm}.weight" for norm in NORMS)]
        if vision["norm_type"] == "layer_norm":
            vectors += [f"{norm}.bias" for norm in NORMS]
        if vision["use_qk_norm"]:
            vectors += ["attention.q_norm.weight", "attention.k_norm.weight"]
        shapes |= {f"{at}.{name}": (seen,) for name in vectors}
    joined = seen * factor_of(config) ** 2
    shapes[f"{CONNECTOR}.layer_norm.weight"] = (joined,)
    shapes[f"{CONNECTOR}.layer_norm.bias"] = (joined,)
    if config.get("tie_word_embeddings"):
        del shapes[f"{HEAD}.weight"]
    return shapes


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith(HEAD):
        return "lm_head"
    if name.startswith(CONNECTOR):
        return "merger"
    if name.startswith(VISION):
        return "patch_embed" if ".patch_embeddings." in name else "vision"
    if "embed_tokens" in name:
        return "embed_tokens"
    return "norms" if "norm" in name else "language"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """All of it."""
    return Architecture(
        linears(config),
        parameters(config),
        part,
        frozenset({HEAD}),
        lambda name: name.startswith(VISION),
        f"{TEXT}.layers",
    )


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    tiles: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). tiles: normalised (3, side, side), in the text's order. Angles
    are those of texts that the config's number of positions holds."""
    text, ids = config["text_config"], np.asarray(sample.ids)
    hidden = weights[f"{TEXT}.embed_tokens.weight"][ids]
    if tiles:
        hidden[ids == picture_id] = np.concatenate([seen(weights, config, t) for t in tiles])
    assert len(ids) <= text["max_position_embeddings"]
    steps = numerics.frequencies(
        text["hidden_size"] // text["num_attention_heads"], text["rope_theta"]
    )
    angles = np.asarray(sample.positions[0], np.float64)[:, None] * steps
    for i in range(text["num_hidden_layers"]):
        hidden = layer(weights, f"{TEXT}.layers.{i}", text, hidden, angles)
    hidden = numerics.rms_norm(hidden, weights[f"{TEXT}.norm.weight"], text["rms_norm_eps"])
    tied = config.get("tie_word_embeddings")
    return hidden @ weights[f"{TEXT}.embed_tokens.weight" if tied else f"{HEAD}.weight"].T


def layer(
    weights: numerics.Weights, at: str, text: Mapping[str, Any], hidden: Any, angles: Any
) -> Any:
    """One of the decoder's: attention with fewer key heads, SwiGLU."""

    def norm(name: str, x: Any) -> Any:
        return numerics.rms_norm(x, weights[f"{at}.{name}.weight"], text["rms_norm_eps"])

    def by(name: str, x: Any) -> Any:
        return numerics.linear(x, weights, f"{at}.{name}")

    x = norm("input_layernorm", hidden)
    q = numerics.heads(by("self_attn.q_proj", x), text["num_attention_heads"])
    k, v = (
        numerics.heads(by(f"self_attn.{name}_proj", x), text["num_key_value_heads"])
        for name in "kv"
    )
    q, k = numerics.rotated(q, angles), numerics.rotated(k, angles)
    mixed = numerics.attention(q, k, v, numerics.causal(len(x)))
    hidden = hidden + by("self_attn.o_proj", numerics.joined(mixed))
    x = norm("post_attention_layernorm", hidden)
    gated = numerics.silu(by("mlp.gate_proj", x)) * by("mlp.up_proj", x)
    return hidden + by("mlp.down_proj", gated)


def seen(weights: numerics.Weights, config: Mapping[str, Any], tile: Any) -> Any:
    """float64 (tokens, width of the decoder) of one tile; every patch and the class token see each
    other, and the class token is left behind."""
    vision = config["vision_config"]
    hidden = embedded(weights, vision, tile)
    for i in range(vision["num_hidden_layers"]):
        hidden = block(weights, f"{VISION}.encoder.layer.{i}", vision, hidden)
    squares = shuffled(hidden[1:], factor_of(config))
    x = numerics.layer_norm(squares, weights, f"{CONNECTOR}.layer_norm", CONNECTOR_EPSILON)
    x = numerics.gelu(numerics.linear(x, weights, f"{CONNECTOR}.linear_1"))
    return numerics.linear(x, weights, f"{CONNECTOR}.linear_2")


def block(weights: numerics.Weights, at: str, vision: Mapping[str, Any], hidden: Any) -> Any:
    """One of the tower's. The large one's queries and keys are normed over all heads together."""

    def norm(name: str, x: Any) -> Any:
        if vision["norm_type"] == "layer_norm":
            return numerics.layer_norm(x, weights, f"{at}.{name}", vision["layer_norm_eps"])
        return numerics.rms_norm(x, weights[f"{at}.{name}.weight"], vision["layer_norm_eps"])

    def projected(name: str, x: Any) -> Any:
        y = numerics.linear(x, weights, f"{at}.attention.{name}_proj")
        if vision["use_qk_norm"] and name in "qk":
            y = numerics.rms_norm(y, weights[f"{at}.attention.{name}_norm.weight"], EPSILON)
        return numerics.heads(y, vision["num_attention_heads"])

    before, after = NORMS
    x = norm(before, hidden)
    everything = np.ones((len(x), len(x)), bool)
    mixed = numerics.joined(numerics.attention(*(projected(n, x) for n in "qkv"), everything))
    attended = numerics.linear(mixed, weights, f"{at}.attention.projection_layer")
    hidden = hidden + weights[f"{at}.lambda_1"] * attended
    x = numerics.gelu(numerics.linear(norm(after, hidden), weights, f"{at}.mlp.fc1"))
    return hidden + weights[f"{at}.lambda_2"] * numerics.linear(x, weights, f"{at}.mlp.fc2")


def embedded(weights: numerics.Weights, vision: Mapping[str, Any], tile: Any) -> Any:
    """(1 + patches, width): the class token, then patches row by row, each in its place."""
    (tall, broad), at = vision["patch_size"], f"{VISION}.embeddings"
    rows, columns = tile.shape[1] // tall, tile.shape[2] // broad
    flat = tile.reshape(3, rows, tall, columns, broad).transpose(1, 3, 0, 2, 4)
    matrix = weights[f"{at}.patch_embeddings.projection.weight"]
    values = flat.reshape(rows * columns, -1) @ matrix.reshape(len(matrix), -1).T
    values = values + weights[f"{at}.patch_embeddings.projection.bias"]
    whole = np.concatenate([weights[f"{at}.cls_token"][0], values])
    return whole + weights[f"{at}.position_embeddings"][0]


def shuffled(patches: Any, factor: int) -> Any:
    """Squares of factor by factor patches made one token, their rows one after the other."""
    less, width = round(len(patches) ** 0.5) // factor, patches.shape[-1]
    squares = patches.reshape(less, factor, less, factor, width).transpose(0, 2, 1, 3, 4)
    return squares.reshape(less * less, factor * factor * width)
