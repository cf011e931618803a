"""SmolVLM's matrices and its forward pass by arXiv 2408.12637 and 2504.05299: a SigLIP tower
(arXiv 2303.15343) with positions by fractions (arXiv 2307.06304), pixel shuffle, Llama.

Numbers are the config's, with the defaults that a published config.json leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics, siglip
from .architecture import Architecture, Shape
from .ladder import Sample

TEXT, VISION = "model.text_model", "model.vision_model"
CONNECTOR = "model.connector.modality_projection.proj"
TEXT_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "vocab_size": 32000,
}
VISION_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "layer_norm_eps": 1e-6,
}
PREFIXES = (
    ("lm_head", "lm_head"),
    (f"{TEXT}.embed_tokens", "embed_tokens"),
    (f"{VISION}.embeddings.patch_embedding", "patch_embed"),
    (f"{VISION}.", "vision"),
    ("model.connector", "merger"),
)


def text_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder's numbers."""
    given = {**TEXT_DEFAULTS, **config["text_config"]}
    heads = given["num_attention_heads"]
    kept = {"num_key_value_heads": heads, "head_dim": given["hidden_size"] // heads}
    return {**kept, **given}


def vision_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The tower's numbers."""
    return {**VISION_DEFAULTS, **config["vision_config"]}


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by name."""
    text, vision = text_of(config), vision_of(config)
    width, inner = text["hidden_size"], text["intermediate_size"]
    query = text["num_attention_heads"] * text["head_dim"]
    key = text["num_key_value_heads"] * text["head_dim"]
    shapes: dict[str, Shape] = {}
    for i in range(text["num_hidden_layers"]):
        at = f"{TEXT}.layers.{i}"
        shapes[f"{at}.self_attn.q_proj"] = (query, width)
        shapes[f"{at}.self_attn.k_proj"] = shapes[f"{at}.self_attn.v_proj"] = (key, width)
        shapes[f"{at}.self_attn.o_proj"] = (width, query)
        shapes[f"{at}.mlp.gate_proj"] = shapes[f"{at}.mlp.up_proj"] = (inner, width)
        shapes[f"{at}.mlp.down_proj"] = (width, inner)
    shapes |= siglip.linears(vision, VISION)
    shapes[CONNECTOR] = (width, vision["hidden_size"] * config["scale_factor"] ** 2)
    shapes["lm_head"] = (text["vocab_size"], width)
    return shapes


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape. Only the tower's Linears have biases."""
    text, vision = text_of(config), vision_of(config)
    width = text["hidden_size"]
    shapes: dict[str, Shape] = {f"{TEXT}.embed_tokens.weight": (text["vocab_size"], width)}
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if name.startswith(VISION):
            shapes[f"{name}.bias"] = shape[:1]
    for i in range(text["num_hidden_layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{TEXT}.layers.{i}.{norm}.weight"] = (width,)
    shapes[f"{TEXT}.norm.weight"] = (width,)
    shapes |= siglip.rest(vision, VISION)
    if config.get("tie_word_embeddings"):
        del shapes["lm_head.weight"]
    return shapes


def part(name: str) -> str:
    """Component of a parameter."""
    for prefix, component in PREFIXES:
        if name.startswith(prefix):
            return component
    return "norms" if "norm" in name else "language"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """All of it."""
    return Architecture(
        linears(config),
        parameters(config),
        part,
        frozenset({"lm_head"}),
        lambda name: name.startswith((VISION, "model.connector")),
        f"{TEXT}.layers",
    )


def forward(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    tiles: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). tiles: normalised (3, side, side), in the text's order."""
    text, ids = text_of(config), np.asarray(sample.ids)
    hidden = weights[f"{TEXT}.embed_tokens.weight"][ids]
    if tiles:
        hidden[ids == picture_id] = np.concatenate([seen(weights, config, t) for t in tiles])
    steps = numerics.frequencies(text["head_dim"], text["rope_theta"])
    angles = np.asarray(sample.positions[0], np.float64)[:, None] * steps
    for i in range(text["num_hidden_layers"]):
        hidden = layer(weights, f"{TEXT}.layers.{i}", text, hidden, angles)
    hidden = numerics.rms_norm(hidden, weights[f"{TEXT}.norm.weight"], text["rms_norm_eps"])
    tied = config.get("tie_word_embeddings")
    return hidden @ weights[f"{TEXT}.embed_tokens.weight" if tied else "lm_head.weight"].T


def layer(
    weights: numerics.Weights, at: str, text: Mapping[str, Any], hidden: Any, angles: Any
) -> Any:
    """One of Llama's: attention with fewer key heads, SwiGLU."""

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
    return hidden + by(
        "mlp.down_proj", numerics.silu(by("mlp.gate_proj", x)) * by("mlp.up_proj", x)
    )


def seen(weights: numerics.Weights, config: Mapping[str, Any], tile: Any) -> Any:
    """float64 (tokens, width of the decoder) of one tile, every patch seeing every other."""
    vision = vision_of(config)
    side = tile.shape[-1] // vision["patch_size"]
    hidden = siglip.blocks(weights, VISION, vision, embedded(weights, vision, tile, side))
    epsilon = vision["layer_norm_eps"]
    hidden = numerics.layer_norm(hidden, weights, f"{VISION}.post_layernorm", epsilon)
    return shuffled(hidden, side, config["scale_factor"]) @ weights[f"{CONNECTOR}.weight"].T


def embedded(weights: numerics.Weights, vision: Mapping[str, Any], tile: Any, side: int) -> Any:
    """Patches row by row, what is left over at the right and below cut off; each takes the place of
    the tower's own grid in which its fraction of the tile lies."""
    own = vision["image_size"] // vision["patch_size"]
    along = [i * own // side for i in range(side)]
    places = [row * own + column for row in along for column in along]
    learnt = weights[f"{VISION}.embeddings.position_embedding.weight"]
    return siglip.embedded(weights, VISION, tile) + learnt[places]


def shuffled(hidden: Any, side: int, factor: int) -> Any:
    """Squares of factor by factor patches made one token, their rows one after the other."""
    width, less = hidden.shape[-1], side // factor
    squares = hidden.reshape(less, factor, less, factor, width).transpose(0, 2, 1, 3, 4)
    return squares.reshape(less * less, factor * factor * width)
