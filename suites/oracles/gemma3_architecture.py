"""Gemma 3's published sizes, and every matrix of them written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import held
from .architecture import Architecture, Shape
from .gemma3_forward import DECODER, TOWER, text_numbers, vision_numbers

SIDE, PATCH = 896, 14
_VISION: Mapping[str, Any] = {
    "hidden_size": 1152,
    "image_size": SIDE,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": PATCH,
}


def _size(width: int, inner: int, layers: int, heads: int, keys: int, **rest: int) -> Any:
    text = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
        **rest,
    }
    return {"mm_tokens_per_image": 256, "text_config": text, "vision_config": _VISION}


SIZES: Mapping[str, Mapping[str, Any]] = {
    "4b": _size(2560, 10240, 34, 8, 4),
    "12b": _size(3840, 15360, 48, 16, 8),
    "27b": _size(5376, 21504, 62, 32, 16, head_dim=128, query_pre_attn_scalar=168),
}
# The hub's totals of google/gemma-3-{4b,12b,27b}-it, as public tables of models state them.
COUNTS = {"4b": 4_300_079_472, "12b": 12_187_325_040, "27b": 27_432_406_640}


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith("language_model.lm_head"):
        return "lm_head"
    if name.startswith(DECODER):
        if "norm" in name:
            return "norms"
        return "embed_tokens" if "embed_tokens" in name else "language"
    if name.startswith("multi_modal_projector"):
        return "merger"
    return "patch_embed" if "patch_embedding" in name else "vision"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name; the head is the embedding."""
    text, vision = text_numbers(config), vision_numbers(config)
    width, head = text["hidden_size"], text["head_dim"]
    linears: dict[str, Shape] = {}
    parameters: dict[str, Shape] = {
        f"{DECODER}.embed_tokens.weight": (text["vocab_size"], width),
        f"{DECODER}.norm.weight": (width,),
    }
    for i in range(text["num_hidden_layers"]):
        at, inner = f"{DECODER}.layers.{i}", text["intermediate_size"]
        queries, keys = head * text["num_attention_heads"], head * text["num_key_value_heads"]
        linears |= {
            f"{at}.self_attn.q_proj": (queries, width),
            f"{at}.self_attn.k_proj": (keys, width),
            f"{at}.self_attn.v_proj": (keys, width),
            f"{at}.self_attn.o_proj": (width, queries),
            f"{at}.mlp.gate_proj": (inner, width),
            f"{at}.mlp.up_proj": (inner, width),
            f"{at}.mlp.down_proj": (width, inner),
        }
        parameters |= {f"{at}.self_attn.{n}_norm.weight": (head,) for n in "qk"}
        norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
        parameters |= {f"{at}.{n}_layernorm.weight": (width,) for n in norms}
    parameters |= {f"{name}.weight": shape for name, shape in linears.items()}
    seeing = _tower(vision)
    side, inside = vision["image_size"] // vision["patch_size"], vision["hidden_size"]
    patch = (vision["num_channels"], vision["patch_size"], vision["patch_size"])
    parameters |= {
        f"{TOWER}.embeddings.patch_embedding.weight": (inside, *patch),
        f"{TOWER}.embeddings.patch_embedding.bias": (inside,),
        f"{TOWER}.embeddings.position_embedding.weight": (side * side, inside),
        f"{TOWER}.post_layernorm.weight": (inside,),
        f"{TOWER}.post_layernorm.bias": (inside,),
        "multi_modal_projector.mm_soft_emb_norm.weight": (inside,),
        "multi_modal_projector.mm_input_projection_weight": (inside, width),
    }
    for name, shape in seeing.items():
        parameters |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for i in range(vision["num_hidden_layers"]):
        for number in (1, 2):
            at = f"{TOWER}.encoder.layers.{i}.layer_norm{number}"
            parameters |= {f"{at}.weight": (inside,), f"{at}.bias": (inside,)}
    linears |= {**seeing, "language_model.lm_head": (text["vocab_size"], width)}
    return Architecture(
        linears,
        parameters,
        part,
        frozenset({"language_model.lm_head"}),
        lambda name: name.startswith("vision_tower."),
        f"{DECODER}.layers",
    )


def _tower(vision: Mapping[str, Any]) -> dict[str, Shape]:
    """Linears of the blocks."""
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    shapes: dict[str, Shape] = {}
    for i in range(vision["num_hidden_layers"]):
        at = f"{TOWER}.encoder.layers.{i}"
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        shapes |= {f"{at}.self_attn.{name}": (width, width) for name in names}
        shapes |= {f"{at}.mlp.fc1": (inner, width), f"{at}.mlp.fc2": (width, inner)}
    return shapes


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    text, vision = text_numbers(config), vision_numbers(config)
    count, scaling = text["num_attention_heads"], text["query_pre_attn_scalar"] ** -0.5
    decoder = {
        **held.llama(text),
        **held.heads(text["head_dim"], count, text["num_key_value_heads"], scaling),
        "activation": [text.get("hidden_activation", held.GELU_TANH)],
        "base": sorted({text["rope_theta"], text["rope_local_base_freq"]}),
        "window": [text["sliding_window"]],
    }
    connector = {"epsilon": [vision["layer_norm_eps"]]}
    return {"decoder": decoder, "tower": held.siglip(vision), "connector": connector}
