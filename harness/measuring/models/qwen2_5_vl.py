"""Qwen2.5-VL (arXiv 2502.13923): ids, names, tensors, parts. Text, pictures' cut and positions of
pictures are Qwen2-VL's; the tower is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from harness.data.samples import resize_sizes
from harness.measuring import _compat
from harness.measuring.models import qwen2_vl as before
from harness.measuring.models._byte_level import written
from harness.measuring.models._chatml import PUBLISHED_IDS, chatml_files
from harness.measuring.models._protocol import Published, Samples
from harness.records.components import Component

TITLE = "Qwen2.5-VL"
SPECIAL = (
    "a tower whose blocks see windows of 112 px, four of them the whole picture, its tokens put in "
    "the windows' order and back, RMSNorm and SwiGLU in it; a tied head in the 3B"
)
MODEL_TYPES = ("qwen2_5_vl",)
NEEDS = {"transformers": ">=4.49"}
ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
IMAGE_PROCESSOR = "Qwen2VLImageProcessor"

_VISION: Mapping[str, Any] = {
    "depth": 32,
    "hidden_act": "silu",
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "in_chans": 3,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "spatial_patch_size": 14,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_THREE_B: Mapping[str, Any] = {
    "architectures": [ARCHITECTURE],
    "model_type": "qwen2_5_vl",
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128000,
    "max_window_layers": 70,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "sliding_window": 32768,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_config": _VISION,
}
_SEVEN_B: Mapping[str, Any] = {
    **_THREE_B,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "max_window_layers": 28,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
    "vision_config": {**_VISION, "out_hidden_size": 3584},
}
# Revisions as others pinned them (manifests and READMEs of projects on GitHub).
PUBLISHED = {
    "3b": Published(
        model_id="Qwen/Qwen2.5-VL-3B-Instruct",
        revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
        config=_THREE_B,
        control_ids=PUBLISHED_IDS,
    ),
    "7b": Published(
        model_id="Qwen/Qwen2.5-VL-7B-Instruct",
        revision="cc594898137f460bfe9f0759e9844b3ce807cfb5",
        config=_SEVEN_B,
        control_ids=PUBLISHED_IDS,
    ),
}

CHAT, TENSORS, SPLIT = before.CHAT, before.TENSORS, before.SPLIT
CONFIG_TOKENS, POSITION_AXES, MASK = before.CONFIG_TOKENS, before.POSITION_AXES, before.MASK
RENAMED, NOT_QUANTISED, TOWER = before.RENAMED, before.NOT_QUANTISED, before.TOWER

CUT = before.CUT
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
patches, image_tokens, picture_side = CUT.patches, CUT.image_tokens, CUT.picture_side
one_by_one, together = CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering
pictures, resize_rule = before.pictures, before.resize_rule
processor, depths, parts = before.processor, before.depths, before.parts
component, picture_id = before.component, before.picture_id
position_ids, defined_positions = before.position_ids, before.defined_positions

SAMPLES = Samples(
    texts={
        "picture": "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n",
        "controls": before.SAMPLES.texts["controls"],
        "almost_controls": before.SAMPLES.texts["almost_controls"],
    },
    sizes=resize_sizes(CUT.side, before.MIN_PIXELS, before.MAX_PIXELS),
    # A window is four tokens high and wide: one picture is smaller, wider and no multiple of it;
    # the other has four whole and partial ones.
    plain=((9 * CUT.side, 3 * CUT.side), (5 * CUT.side, 6 * CUT.side)),
    rule_sizes=before.SAMPLES.rule_sizes,
    too_long=before.SAMPLES.too_long,
)


def config(numbers: Mapping[str, Any]) -> Any:
    """Qwen2_5_VLConfig."""
    from transformers import Qwen2_5_VLConfig

    return Qwen2_5_VLConfig.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """Three blocks, of which the second sees the whole picture. Heads of 32 keep M-RoPE's sections
    in the published proportion of 16:24:24."""
    vision = {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
    }
    return {
        **config,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "max_window_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "vision_config": {**config["vision_config"], **vision},
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The template behaves as Qwen2-VL's does, which is the project's own; 960 tokens, and the
    published settings."""
    theirs = written("qwen2_vl", ("chat_template.json", "preprocessor_config.json"))
    name = "Qwen2_5_VLProcessor"
    return {
        **chatml_files(theirs["chat_template.json"]["chat_template"], name),
        "preprocessor_config.json": {
            **theirs["preprocessor_config.json"],
            "processor_class": name,
        },
    }


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """The tower takes all patches at once and the grids that part them; a tensor's tokens until
    transformers 4.57, then an output's."""
    tower = parts(_compat.core(model)).tower
    out = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    tokens = getattr(out, "pooler_output", out)
    return list(tokens.split([n // CUT.merge**2 for n in patches(batch)]))


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (merger: and token); four blocks attend to the whole picture, the
    others to windows, counted whole: those that a picture's edge cuts off are smaller."""
    vision, total = config.vision_config, sum(patches)
    window = (int(vision.window_size) // int(vision.patch_size)) ** 2
    whole = len(vision.fullatt_block_indexes)
    pairs = whole * sum(n * n for n in patches)
    pairs += (int(vision.depth) - whole) * sum(n * min(n, window) for n in patches)
    tower = 2 * total * (weights[Component.TOWER] + weights[Component.PATCH_EMBEDDING])
    connector = 2 * (total // CUT.merge**2) * weights[Component.CONNECTOR]
    return tower + connector + 4 * pairs * int(vision.hidden_size)
