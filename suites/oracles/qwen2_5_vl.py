"""Qwen2.5-VL: what the recipe's ladder must show of any conversations, by its report (arXiv
2502.13923) and the numbers of its config.json. Texts, cuts and the decoder are Qwen2-VL's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import footprint, held, numerics, qwen2_vl, qwen2_vl_forward
from .architecture import Architecture, Shape
from .known import by_micro_batch
from .ladder import Known, Sample

WORDS = replace(qwen2_vl.WORDS, model="suites/oracles/qwen2_5_vl.py")
VISION: Mapping[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "in_chans": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_attention_heads": 16,
        "num_hidden_layers": 36,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "vision_config": {**VISION, "out_hidden_size": 2048},
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "vision_config": {**VISION, "out_hidden_size": 3584},
    },
}
# As the hub counts the checkpoints' tensors (the 7B's `numParameters` on its pages), and as those
# who load them print it.
COUNTS = {"3b": 3_754_622_976, "7b": 8_292_166_656}
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (by_micro_batch("Qwen2_5_VLForConditionalGeneration"),),
}
ABSENT: Mapping[str, Mapping[str, str]] = {"latest": {}}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "windows ignored": {"vision_config": {"fullatt_block_indexes": [0, 1, 2]}},
    "no block sees the whole picture": {"vision_config": {"fullatt_block_indexes": []}},
    "another block sees the whole picture": {"vision_config": {"fullatt_block_indexes": [2]}},
    "windows of another size": {"vision_config": {"window_size": 56}},
    "frequencies given to other axes": qwen2_vl.FAULTS["frequencies given to other axes"],
    "angles of another base": {"rope_theta": 10_000.0},
    "norms of another epsilon": {"rms_norm_eps": 1e-2},
    "another activation in the tower": {"vision_config": {"hidden_act": "gelu"}},
    "a head of its own": {"tie_word_embeddings": False},
    "fewer blocks in the tower": {"vision_config": {"depth": 2}},
}
IDLE: Mapping[str, str] = {}
# The tower's norms have none in the config.
EPSILON = 1e-6
NAMES = ("gate_proj", "up_proj", "down_proj")


class Family(qwen2_vl.Family):
    """Its template, vocabulary, labels, pictures and positions are those of the family before."""

    words = WORDS
    constants: Mapping[str, tuple[Any, str]] = {
        # EvolvingLMMs-Lab/lmms-eval#830.
        "padding_side": ("right", "the snapshot says none, and the library's default is right"),
        "pad_token": ("<|endoftext|>", "not the eos token"),
        "eos_token": ("<|im_end|>", "ends every turn"),
    }

    def towered(self, patches: Any, merged: tuple[int, int, int]) -> Any:
        """By windows."""
        return tower(self.weights, self.config["vision_config"], patches, merged)

    def forward(self, sample: Sample, patches: Sequence[tuple[Any, tuple[int, int, int]]]) -> Any:
        """float64 (tokens, vocabulary)."""
        seen = [self.towered(*each) for each in patches]
        return qwen2_vl_forward.decoder(self.weights, self.config, sample, self.picture, seen)


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def blocks_of(merged: tuple[int, int, int], side: int) -> list[list[int]]:
    """Tokens by window, both row by row. merged: frames, rows and columns of tokens. side: of a
    window, in tokens; where a picture ends, so does the window."""
    frames, rows, columns = merged
    return [
        [
            (frame * rows + row) * columns + column
            for row in range(top, min(top + side, rows))
            for column in range(left, min(left + side, columns))
        ]
        for frame in range(frames)
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]


def same_window(vision: Mapping[str, Any], merged: tuple[int, int, int]) -> Any:
    """bool (patches, patches): which see each other outside the blocks that see all."""
    unit = vision["spatial_merge_size"]
    side = vision["window_size"] // unit // vision["patch_size"]
    number = np.empty(np.prod(merged), int)
    for place, tokens in enumerate(blocks_of(merged, side)):
        number[tokens] = place
    of_patch = number.repeat(unit * unit)
    return of_patch[:, None] == of_patch


def tower(
    weights: numerics.Weights,
    vision: Mapping[str, Any],
    patches: Any,
    merged: tuple[int, int, int],
) -> Any:
    """float64 (tokens, width of the decoder) of one picture. Nothing is put in another order here:
    who sees whom is a mask."""
    width, count = vision["hidden_size"], vision["num_heads"]
    hidden = patches @ weights["visual.patch_embed.proj.weight"].reshape(width, -1).T
    side = vision["spatial_merge_size"]
    angles = qwen2_vl_forward.patch_angles(merged, side, width // count)
    frame = np.arange(len(hidden)) // (len(hidden) // merged[0])
    masks = {True: frame[:, None] == frame, False: same_window(vision, merged)}

    def norm(name: str, x: Any) -> Any:
        return numerics.rms_norm(x, weights[f"{name}.weight"], EPSILON)

    for number in range(vision["depth"]):
        at = f"visual.blocks.{number}"
        x = norm(f"{at}.norm1", hidden)
        q, k, v = np.split(numerics.linear(x, weights, f"{at}.attn.qkv"), 3, axis=-1)
        q, k = (numerics.rotated(numerics.heads(y, count), angles) for y in (q, k))
        mask = masks[number in vision["fullatt_block_indexes"]]
        mixed = numerics.attention(q, k, numerics.heads(v, count), mask)
        hidden = hidden + numerics.linear(numerics.joined(mixed), weights, f"{at}.attn.proj")
        x = norm(f"{at}.norm2", hidden)
        gate, up = (numerics.linear(x, weights, f"{at}.mlp.{name}") for name in NAMES[:2])
        hidden = hidden + numerics.linear(numerics.silu(gate) * up, weights, f"{at}.mlp.{NAMES[2]}")
    x = norm("visual.merger.ln_q", hidden).reshape(-1, side * side * width)
    x = numerics.gelu(numerics.linear(x, weights, "visual.merger.mlp.0"))
    return numerics.linear(x, weights, "visual.merger.mlp.2")


def order(model: Any, grids: Any) -> list[int]:
    """The tokens of pictures in the windows' order. grids: (frames, rows, columns) of patches."""
    vision, unit = model.config.vision_config, model.config.vision_config.spatial_merge_size
    out: list[int] = []
    for frames, rows, columns in grids.tolist():
        merged = frames, rows // unit, columns // unit
        first = len(out)
        windows = blocks_of(merged, vision.window_size // unit // vision.patch_size)
        out += [first + token for window in windows for token in window]
    return out


def left_in_order(model: Any) -> None:
    """The tower's tokens are not put back."""

    def leaves(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        grids = kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]
        output.pooler_output = output.pooler_output[order(model, grids)]
        return output

    model.model.visual.register_forward_hook(leaves, with_kwargs=True)


def angles_left_behind(model: Any) -> None:
    """The tower's angles stay where they were when its tokens are put in the windows' order."""
    visual, grids = model.model.visual, []

    def enters(module: Any, args: Any, kwargs: Any) -> None:
        grids.append(kwargs["grid_thw"] if "grid_thw" in kwargs else args[1])

    def leaves(module: Any, args: Any, output: Any) -> Any:
        unit = model.config.vision_config.spatial_merge_size**2
        back = np.argsort(order(model, grids[-1]))
        places = (back[:, None] * unit + np.arange(unit)).reshape(-1).tolist()
        return tuple(each[places] for each in output)

    visual.register_forward_pre_hook(enters, with_kwargs=True)
    visual.rotary_pos_emb.register_forward_hook(leaves)


PLANTED: Mapping[str, Callable[[Any], None]] = {
    "tokens left in the windows' order": left_in_order,
    "angles left behind": angles_left_behind,
}


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    vision = config["vision_config"]
    seen, inner = vision["hidden_size"], vision["intermediate_size"]
    merged = seen * vision["spatial_merge_size"] ** 2
    shapes = footprint.decoder_linears(config)
    for number in range(vision["depth"]):
        at = f"visual.blocks.{number}"
        shapes[f"{at}.attn.qkv"] = (3 * seen, seen)
        shapes[f"{at}.attn.proj"] = (seen, seen)
        for name in NAMES[:2]:
            shapes[f"{at}.mlp.{name}"] = (inner, seen)
        shapes[f"{at}.mlp.{NAMES[2]}"] = (seen, inner)
    shapes["visual.merger.mlp.0"] = (merged, merged)
    shapes["visual.merger.mlp.2"] = (vision["out_hidden_size"], merged)
    shapes["lm_head"] = (config["vocab_size"], config["hidden_size"])
    return shapes


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape, by canonical name. The tower's matrices have biases, its norms
    none."""
    vision, width = config["vision_config"], config["hidden_size"]
    shapes: dict[str, Shape] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if name.startswith("visual.") or name.endswith(("q_proj", "k_proj", "v_proj")):
            shapes[f"{name}.bias"] = shape[:1]
    for number in range(config["num_hidden_layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"model.layers.{number}.{norm}.weight"] = (width,)
    shapes["model.norm.weight"] = (width,)
    seen, patch = vision["hidden_size"], vision["patch_size"]
    deep = vision["temporal_patch_size"]
    shapes["visual.patch_embed.proj.weight"] = (seen, vision["in_chans"], deep, patch, patch)
    blocks = [f"visual.blocks.{i}.{norm}" for i in range(vision["depth"]) for norm in NORMS]
    for name in (*blocks, "visual.merger.ln_q"):
        shapes[f"{name}.weight"] = (seen,)
    if config["tie_word_embeddings"]:
        del shapes["lm_head.weight"]
    return shapes


NORMS = ("norm1", "norm2")


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return Architecture(
        linears(config),
        parameters(config),
        footprint.part,
        frozenset({"lm_head"}),
        lambda name: name.startswith("visual."),
        "model.layers",
    )


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    vision = config["vision_config"]
    tower = held.merging(vision, vision["hidden_size"], "silu")
    return {"decoder": held.llama(config), "tower": tower}
