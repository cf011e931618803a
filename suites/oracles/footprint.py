"""Parameters, bytes and LoRA of a Qwen2-VL from the numbers of its config.json alone.

No torch, no model: every matrix of the architecture is written out here. Sources: the Qwen2-VL
report (arXiv 2409.12191), the published config.json, QLoRA (arXiv 2305.14314) for the sizes of
the quantisation state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import architecture as counts
from .architecture import Architecture, Shape

SEVEN_B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "mlp_ratio": 4,
        "num_heads": 16,
        "in_chans": 3,
        "hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}


TWO_B: dict[str, Any] = {
    **SEVEN_B,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "vision_config": {**SEVEN_B["vision_config"], "hidden_size": 1536},
}
SIZES = {"7b": SEVEN_B, "2b": TWO_B}


def vision_numbers(config: Mapping[str, Any]) -> dict[str, int]:
    """The vision tower's numbers, with the published defaults where the config is silent."""
    vision = {
        "in_chans": 3,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "mlp_ratio": 4,
        **config["vision_config"],
    }
    return {k: int(v) for k, v in vision.items() if isinstance(v, int | float)}


def decoder_linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """(out, in) of the decoder's, by canonical name."""
    h, ffn = config["hidden_size"], config["intermediate_size"]
    head = h // config["num_attention_heads"]
    kv = head * config["num_key_value_heads"]
    shapes: dict[str, Shape] = {}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        shapes[f"{at}.self_attn.q_proj"] = (h, h)
        shapes[f"{at}.self_attn.k_proj"] = (kv, h)
        shapes[f"{at}.self_attn.v_proj"] = (kv, h)
        shapes[f"{at}.self_attn.o_proj"] = (h, h)
        shapes[f"{at}.mlp.gate_proj"] = (ffn, h)
        shapes[f"{at}.mlp.up_proj"] = (ffn, h)
        shapes[f"{at}.mlp.down_proj"] = (h, ffn)
    return shapes


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    shapes = decoder_linears(config)
    v = vision_numbers(config)
    e, inner = v["embed_dim"], v["embed_dim"] * v["mlp_ratio"]
    for i in range(v["depth"]):
        at = f"visual.blocks.{i}"
        shapes[f"{at}.attn.qkv"] = (3 * e, e)
        shapes[f"{at}.attn.proj"] = (e, e)
        shapes[f"{at}.mlp.fc1"] = (inner, e)
        shapes[f"{at}.mlp.fc2"] = (e, inner)
    merged = e * v["spatial_merge_size"] ** 2
    shapes["visual.merger.mlp.0"] = (merged, merged)
    shapes["visual.merger.mlp.2"] = (v["hidden_size"], merged)
    shapes["lm_head"] = (config["vocab_size"], config["hidden_size"])
    return shapes


BIASED = ("q_proj", "k_proj", "v_proj", "qkv", "proj", "fc1", "fc2", "0", "2")


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape, by canonical name."""
    h = config["hidden_size"]
    v = vision_numbers(config)
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": (config["vocab_size"], h)}
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if name.rsplit(".", 1)[-1] in BIASED:
            shapes[f"{name}.bias"] = (shape[0],)
    for i in range(config["num_hidden_layers"]):
        shapes[f"model.layers.{i}.input_layernorm.weight"] = (h,)
        shapes[f"model.layers.{i}.post_attention_layernorm.weight"] = (h,)
    shapes["model.norm.weight"] = (h,)
    e, p = v["embed_dim"], v["patch_size"]
    shapes["visual.patch_embed.proj.weight"] = (e, v["in_chans"], v["temporal_patch_size"], p, p)
    for i in range(v["depth"]):
        for norm in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                shapes[f"visual.blocks.{i}.{norm}.{kind}"] = (e,)
    shapes["visual.merger.ln_q.weight"] = shapes["visual.merger.ln_q.bias"] = (e,)
    if config.get("tie_word_embeddings"):
        del shapes["lm_head.weight"]
    return shapes


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith("lm_head"):
        return "lm_head"
    if "embed_tokens" in name:
        return "embed_tokens"
    if name.startswith("visual"):
        second = name.split(".")[1]
        return {"patch_embed": "patch_embed", "merger": "merger"}.get(second, "vision")
    return "norms" if "norm" in name else "language"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """All of it."""
    return Architecture(
        linears(config),
        parameters(config),
        part,
        frozenset({"lm_head"}),
        lambda name: name.startswith("visual."),
        "model.layers",
    )


def bytes_by_part(config: Mapping[str, Any], **how: Any) -> dict[str, int]:
    """Bytes by component under a scheme."""
    return counts.bytes_by_part(architecture(config), **how)


def parameter_bytes(config: Mapping[str, Any]) -> int:
    """What counting parameters alone sees of NF4."""
    return counts.parameter_bytes(architecture(config))


def lora(config: Mapping[str, Any]) -> dict[str, int]:
    """Adapted modules, trainable and total parameters for q_proj and v_proj of the decoder."""
    model = architecture(config)
    trainable = sum(counts.lora_by_part(model).values())
    total = trainable + model.count
    return {"adapted": len(counts.adapted(model)), "trainable": trainable, "total": total}
