"""Parameters, bytes and LoRA of a Qwen2-VL from the numbers of its config.json alone.

No torch, no model: every matrix of the architecture is written out here. Sources: the Qwen2-VL
report (arXiv 2409.12191), the published config.json, QLoRA (arXiv 2305.14314) for the sizes of
the quantisation state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SEVEN_B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
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

Shape = tuple[int, ...]


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


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
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
    shapes["lm_head"] = (config["vocab_size"], h)
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


def held(count: int, double: bool) -> int:
    """Bytes of a weight of `count` values in NF4: codes, block scales, offset, code tables."""
    codes = math.ceil(count / 2)
    blocks = math.ceil(count / 64)
    if double:
        return codes + blocks * 1 + math.ceil(blocks / 256) * 4 + 4 + 16 * 4 + 256 * 4
    return codes + blocks * 4 + 16 * 4


def bytes_by_part(
    config: Mapping[str, Any],
    *,
    four_bit: bool = True,
    double: bool = True,
    vision_four_bit: bool = True,
    rest: int = 2,
) -> dict[str, int]:
    """Bytes by component. rest: bytes per value that is not quantised."""
    out: dict[str, int] = {}
    quantised = {
        f"{name}.weight"
        for name in linears(config)
        if four_bit and name != "lm_head" and (vision_four_bit or not name.startswith("visual"))
    }
    for name, shape in parameters(config).items():
        count = math.prod(shape)
        size = held(count, double) if name in quantised else count * rest
        out[part(name)] = out.get(part(name), 0) + size
    return out


def parameter_bytes(config: Mapping[str, Any]) -> int:
    """What counting parameters alone sees of NF4: codes, and two bytes per other value."""
    quantised = {f"{name}.weight" for name in linears(config) if name != "lm_head"}
    return sum(
        math.ceil(math.prod(shape) / 2) if name in quantised else 2 * math.prod(shape)
        for name, shape in parameters(config).items()
    )


def lora_by_part(config: Mapping[str, Any], rank: int = 8) -> dict[str, int]:
    """Parameters of LoRA on q_proj and v_proj, by component."""
    out: dict[str, int] = {}
    for name, (fan_out, fan_in) in linears(config).items():
        if name.endswith(("q_proj", "v_proj")):
            out[part(name)] = out.get(part(name), 0) + rank * (fan_in + fan_out)
    return out


def lora(config: Mapping[str, Any], rank: int = 8) -> dict[str, int]:
    """Adapted modules, trainable and total parameters for q_proj and v_proj of the decoder."""
    adapted = {n: s for n, s in linears(config).items() if n.endswith(("q_proj", "v_proj"))}
    trainable = sum(rank * (fan_in + fan_out) for fan_out, fan_in in adapted.values())
    total = trainable + sum(math.prod(s) for s in parameters(config).values())
    return {"adapted": len(adapted), "trainable": trainable, "total": total}
