"""Gemma 4's published sizes, and every matrix of them written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import held
from .architecture import Architecture, Shape
from .gemma4_forward import DECODER, TOWER, WINDOW

EAR = "model.audio_tower"
_SMALL_VISION: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "patch_size": 16,
    "position_embedding_size": 10240,
}
_LARGE_VISION: Mapping[str, Any] = {
    **_SMALL_VISION,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
}
_AUDIO: Mapping[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "subsampling_conv_channels": [128, 32],
    "conv_kernel_size": 5,
    "output_proj_dims": 1536,
}


def _text(windows: int, blocks: int, **numbers: Any) -> dict[str, Any]:
    return {
        "head_dim": 256,
        "global_head_dim": 512,
        "vocab_size": 262144,
        "vocab_size_per_layer_input": 262144,
        "num_hidden_layers": (windows + 1) * blocks,
        "layer_types": ([WINDOW] * windows + ["full_attention"]) * blocks,
        **numbers,
    }


_E2B = _text(
    4,
    7,
    hidden_size=1536,
    intermediate_size=6144,
    num_attention_heads=8,
    num_key_value_heads=1,
    num_kv_shared_layers=20,
    use_double_wide_mlp=True,
    hidden_size_per_layer_input=256,
    attention_k_eq_v=False,
)
_E4B = _text(
    5,
    7,
    hidden_size=2560,
    intermediate_size=10240,
    num_attention_heads=8,
    num_key_value_heads=2,
    num_kv_shared_layers=18,
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=256,
    attention_k_eq_v=False,
)
_THIRTY_ONE_B = _text(
    5,
    10,
    hidden_size=5376,
    intermediate_size=21504,
    num_attention_heads=32,
    num_key_value_heads=16,
    num_global_key_value_heads=4,
    num_kv_shared_layers=0,
    use_double_wide_mlp=False,
    hidden_size_per_layer_input=0,
    attention_k_eq_v=True,
)
SIZES: Mapping[str, Mapping[str, Any]] = {
    "e2b": {"text_config": _E2B, "vision_config": _SMALL_VISION, "audio_config": _AUDIO},
    "e4b": {"text_config": _E4B, "vision_config": _SMALL_VISION, "audio_config": _AUDIO},
    "31b": {"text_config": _THIRTY_ONE_B, "vision_config": _LARGE_VISION, "audio_config": None},
}
# The hub's totals of google/gemma-4-{E2B,E4B,31B}-it, as public tables of models state them, less
# what a checkpoint holds and no parameter is: a scaling number a layer, the standardisation of the
# 31B's tower, and keys, values and their norms of layers that share those of others, which are
# stored and never used: 16 with windows and 4 full ones of E2B, 15 and 3 of E4B.
COUNTS = {
    "e2b": 5_123_178_051 - 35 - 16 * (2 * 256 * 1536 + 256) - 4 * (2 * 512 * 1536 + 512),
    "e4b": 7_996_156_490 - 42 - 15 * (2 * 512 * 2560 + 256) - 3 * (2 * 1024 * 2560 + 512),
    "31b": 31_273_088_876 - 60 - 2 * 1152,
}


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith("lm_head"):
        return "lm_head"
    if name.startswith(DECODER):
        if "norm" in name:
            return "norms"
        if "embed_tokens_per_layer" in name:
            return "other"
        return "embed_tokens" if "embed_tokens" in name else "language"
    if name.startswith("model.embed_vision"):
        return "merger"
    if name.startswith(TOWER):
        return "patch_embed" if "patch_embedder" in name else "vision"
    return "other"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name; the head is the embedding."""
    text, vision, audio = (config[f"{n}_config"] for n in ("text", "vision", "audio"))
    width = text["hidden_size"]
    linears, vectors = _decoder(text)
    linears |= _tower(vision)
    linears["model.embed_vision.embedding_projection"] = (width, vision["hidden_size"])
    parameters: dict[str, Shape] = {
        f"{DECODER}.embed_tokens.weight": (text["vocab_size"], width),
        f"{TOWER}.patch_embedder.position_embedding_table": (
            2,
            vision["position_embedding_size"],
            vision["hidden_size"],
        ),
        **vectors,
        **_tower_norms(vision),
    }
    if audio:
        heard, others = _audio(audio, width)
        linears |= heard
        parameters |= others
    parameters |= {f"{name}.weight": shape for name, shape in linears.items()}
    return Architecture(
        {**linears, "lm_head": (text["vocab_size"], width)},
        parameters,
        part,
        frozenset({"lm_head"}),
        lambda name: name.startswith((TOWER, "model.embed_vision")),
        f"{DECODER}.layers",
    )


def _decoder(text: Mapping[str, Any]) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(Linears, everything else but the embedding)."""
    width, layers = text["hidden_size"], text["num_hidden_layers"]
    small = text["hidden_size_per_layer_input"]
    linears: dict[str, Shape] = {}
    vectors: dict[str, Shape] = {f"{DECODER}.norm.weight": (width,)}
    norms = ["input", "post_attention", "pre_feedforward", "post_feedforward"]
    if small:
        linears[f"{DECODER}.per_layer_model_projection"] = (layers * small, width)
        vectors[f"{DECODER}.per_layer_projection_norm.weight"] = (small,)
        table = text["vocab_size_per_layer_input"], layers * small
        vectors[f"{DECODER}.embed_tokens_per_layer.weight"] = table
    for i in range(layers):
        at, full = f"{DECODER}.layers.{i}", text["layer_types"][i] != WINDOW
        head = text["global_head_dim"] if full else text["head_dim"]
        as_values = full and text["attention_k_eq_v"]
        keys = text["num_global_key_value_heads"] if as_values else text["num_key_value_heads"]
        own = i < layers - text["num_kv_shared_layers"]
        inner = text["intermediate_size"] * (1 if own or not text["use_double_wide_mlp"] else 2)
        queries = head * text["num_attention_heads"]
        linears[f"{at}.self_attn.q_proj"] = (queries, width)
        vectors[f"{at}.self_attn.q_norm.weight"] = (head,)
        if own:
            linears[f"{at}.self_attn.k_proj"] = (head * keys, width)
            vectors[f"{at}.self_attn.k_norm.weight"] = (head,)
        if own and not as_values:
            linears[f"{at}.self_attn.v_proj"] = (head * keys, width)
        linears[f"{at}.self_attn.o_proj"] = (width, queries)
        linears |= _gate(f"{at}.mlp", width, inner)
        vectors |= {f"{at}.{name}_layernorm.weight": (width,) for name in norms}
        if small:
            linears[f"{at}.per_layer_input_gate"] = (small, width)
            linears[f"{at}.per_layer_projection"] = (width, small)
            vectors[f"{at}.post_per_layer_input_norm.weight"] = (width,)
    return linears, vectors


def _gate(at: str, width: int, inner: int, inside: str = "") -> dict[str, Shape]:
    return {
        f"{at}.gate_proj{inside}": (inner, width),
        f"{at}.up_proj{inside}": (inner, width),
        f"{at}.down_proj{inside}": (width, inner),
    }


def _tower(vision: Mapping[str, Any]) -> dict[str, Shape]:
    """Linears; those of the blocks lie in a module that clips."""
    width, head = vision["hidden_size"], vision["head_dim"]
    queries, keys = head * vision["num_attention_heads"], head * vision["num_key_value_heads"]
    pixels = 3 * vision["patch_size"] ** 2
    shapes: dict[str, Shape] = {f"{TOWER}.patch_embedder.input_proj": (width, pixels)}
    for i in range(vision["num_hidden_layers"]):
        at = f"{TOWER}.encoder.layers.{i}"
        shapes |= {
            f"{at}.self_attn.q_proj.linear": (queries, width),
            f"{at}.self_attn.k_proj.linear": (keys, width),
            f"{at}.self_attn.v_proj.linear": (keys, width),
            f"{at}.self_attn.o_proj.linear": (width, queries),
        }
        shapes |= _gate(f"{at}.mlp", width, vision["intermediate_size"], ".linear")
    return shapes


def _tower_norms(vision: Mapping[str, Any]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for i in range(vision["num_hidden_layers"]):
        at = f"{TOWER}.encoder.layers.{i}"
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            shapes[f"{at}.{name}_layernorm.weight"] = (vision["hidden_size"],)
        for name in "qk":
            shapes[f"{at}.self_attn.{name}_norm.weight"] = (vision["head_dim"],)
    return shapes


def _audio(audio: Mapping[str, Any], width: int) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(Linears, everything else) of what hears: a conformer behind two convolutions."""
    h, out = audio["hidden_size"], audio["output_proj_dims"]
    first, second = audio["subsampling_conv_channels"]
    begin = f"{EAR}.subsample_conv_projection"
    linears: dict[str, Shape] = {
        # A quarter of 128 bands is left behind the convolutions.
        f"{begin}.input_proj_linear": (h, second * 32),
        f"{EAR}.output_proj": (out, h),
        "model.embed_audio.embedding_projection": (width, out),
    }
    others: dict[str, Shape] = {
        f"{begin}.layer0.conv.weight": (first, 1, 3, 3),
        f"{begin}.layer0.norm.weight": (first,),
        f"{begin}.layer1.conv.weight": (second, first, 3, 3),
        f"{begin}.layer1.norm.weight": (second,),
        f"{EAR}.output_proj.bias": (out,),
    }
    for i in range(audio["num_hidden_layers"]):
        at = f"{EAR}.layers.{i}"
        for half in ("feed_forward1", "feed_forward2"):
            linears[f"{at}.{half}.ffw_layer_1.linear"] = (4 * h, h)
            linears[f"{at}.{half}.ffw_layer_2.linear"] = (h, 4 * h)
            for place in ("pre", "post"):
                others[f"{at}.{half}.{place}_layer_norm.weight"] = (h,)
        for name in ("q_proj", "k_proj", "v_proj", "post"):
            linears[f"{at}.self_attn.{name}.linear"] = (h, h)
        linears[f"{at}.self_attn.relative_k_proj"] = (h, h)
        others[f"{at}.self_attn.per_dim_scale"] = (h // audio["num_attention_heads"],)
        linears[f"{at}.lconv1d.linear_start.linear"] = (2 * h, h)
        linears[f"{at}.lconv1d.linear_end.linear"] = (h, h)
        others[f"{at}.lconv1d.depthwise_conv1d.weight"] = (h, 1, audio["conv_kernel_size"])
        names = ("lconv1d.pre_layer_norm", "lconv1d.conv_norm")
        for name in (*names, "norm_pre_attn", "norm_post_attn", "norm_out"):
            others[f"{at}.{name}.weight"] = (h,)
    return linears, others


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    text, vision = config["text_config"], config["vision_config"]
    count, keys = text["num_attention_heads"], text["num_key_value_heads"]
    # Full layers have wider heads; fewer of keys where these are the values, too.
    fewer = text["attention_k_eq_v"] and text.get("num_global_key_value_heads")
    wide = text["global_head_dim"]
    decoder: held.Settings = {
        **held.llama(text, 0.0),
        "width": sorted({text["head_dim"], wide}),
        "shared": sorted({count // keys, count // (fewer or keys)}),
        "scaling": [1.0],
        "activation": [text.get("hidden_activation", held.GELU_TANH)],
        "base": sorted({rope["rope_theta"] for rope in text["rope_parameters"].values()}),
        "window": [text["sliding_window"]],
    }
    seen = vision["num_attention_heads"]
    tower = {
        "width": [vision["head_dim"]],
        "causal": [False],
        "shared": [seen // vision.get("num_key_value_heads", seen)],
        "scaling": [1.0],
        "epsilon": [vision.get("rms_norm_eps", 1e-6)],
        "dropout": [vision.get("attention_dropout", 0.0)],
        "activation": [vision.get("hidden_activation", held.GELU_TANH)],
        "patch": [vision["patch_size"]],
    }
    return {"decoder": decoder, "tower": tower, "connector": {"epsilon": tower["epsilon"]}}
