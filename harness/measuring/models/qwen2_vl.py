"""Qwen2-VL (arXiv 2409.12191): ids, names, tensors, parts. The file to copy for another family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.data.samples import resize_sizes
from harness.measuring import _compat
from harness.measuring.models._byte_level import learnt, written
from harness.measuring.models._chatml import CHAT as CHAT
from harness.measuring.models._chatml import SPLIT as SPLIT
from harness.measuring.models._chatml import TENSORS as TENSORS
from harness.measuring.models._handed import fetched
from harness.measuring.models._mrope import batch_positions, library_positions
from harness.measuring.models._parts import around
from harness.measuring.models._patches import Patches
from harness.measuring.models._protocol import (
    Mask,
    Parts,
    PixelLimits,
    Published,
    Samples,
)
from harness.records.components import Component

TITLE = "Qwen2-VL"
SPECIAL = "positions with three axes (M-RoPE), pictures of any size, a tied head in the 2B"
MODEL_TYPES = ("qwen2_vl",)
NEEDS = {"transformers": ">=4.45"}
ARCHITECTURE = "Qwen2VLForConditionalGeneration"
IMAGE_PROCESSOR = "Qwen2VLImageProcessor"

_VISION: Mapping[str, Any] = {
    "depth": 32,
    "embed_dim": 1280,
    "mlp_ratio": 4,
    "num_heads": 16,
    "in_chans": 3,
    "hidden_size": 3584,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_SEVEN_B: Mapping[str, Any] = {
    "architectures": [ARCHITECTURE],
    "model_type": "qwen2_vl",
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": False,
    "vocab_size": 152064,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_config": _VISION,
}
# The same tower; the head is the embedding.
_TWO_B: Mapping[str, Any] = {
    **_SEVEN_B,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "vocab_size": 151936,
    "vision_config": {**_VISION, "hidden_size": 1536},
}
# Of the 151,657-token vocabulary (recipe.md, "Special tokens"), the same for every size.
_CONTROL_IDS: Mapping[str, int] = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|vision_start|>": 151652,
    "<|vision_end|>": 151653,
    "<|vision_pad|>": 151654,
    "<|image_pad|>": 151655,
    "<|video_pad|>": 151656,
}
PUBLISHED = {
    "7b": Published(
        model_id="Qwen/Qwen2-VL-7B-Instruct",
        revision="eed13092ef92e448dd6875b2a00151bd3f7db0ac",
        config=_SEVEN_B,
        control_ids=_CONTROL_IDS,
    ),
    "2b": Published(
        model_id="Qwen/Qwen2-VL-2B-Instruct",
        revision="895c3a49bc3fa70a340399125c650a463535e71c",
        config=_TWO_B,
        control_ids=_CONTROL_IDS,
    ),
}

CONFIG_TOKENS = {
    "<|vision_start|>": "vision_start_token_id",
    "<|vision_end|>": "vision_end_token_id",
    "<|vision_pad|>": "vision_token_id",
    "<|image_pad|>": "image_token_id",
    "<|video_pad|>": "video_token_id",
}
POSITION_AXES = 3
MASK: Mask = "causal"
# As transformers 4.45.1 spells them; since 4.52 decoder and tower lie in the inner model.
RENAMED = (("model.language_model.", "model."), ("model.visual.", "visual."))
# Hugging Face's default for 4-bit loading skips only the output head, so the vision tower's
# Linears are quantised too.
NOT_QUANTISED = ("lm_head",)
TOWER = ("visual",)
PREFIXES = (
    ("lm_head.", Component.HEAD),
    ("model.embed_tokens.", Component.EMBEDDING),
    ("model.norm.", Component.NORMS),
    ("model.layers.", Component.LANGUAGE),
    ("visual.patch_embed.", Component.PATCH_EMBEDDING),
    ("visual.merger.", Component.CONNECTOR),
    ("visual.", Component.TOWER),
)

# One patch is 14 px square and two frames deep; 2 x 2 of them make one token. CLIP's mean and
# standard deviation, as the published preprocessor_config.json has them.
CUT = Patches(
    patch=14,
    frames=2,
    merge=2,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
MIN_PIXELS, MAX_PIXELS = 3136, 12_845_056
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
pictures = fetched
patches, image_tokens, picture_side = CUT.patches, CUT.image_tokens, CUT.picture_side
one_by_one, together = CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering

SAMPLES = Samples(
    texts={
        # The ids that the library's own integration test for the model expects.
        "integration": (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "<|vision_start|><|image_pad|><|image_pad|>"
        ),
        "controls": "<|im_start|><|im_end|><|endoftext|> <|vision_pad|><|video_pad|>",
        "almost_controls": "<|im_start|<|im_end |> <image>",
    },
    sizes=resize_sizes(CUT.side, MIN_PIXELS, MAX_PIXELS),
    plain=((4 * CUT.side, 3 * CUT.side), (2 * CUT.side, 5 * CUT.side)),
    # Where the square root comes out whole and a rounding error of the last bit costs a row and
    # a column of image tokens.
    rule_sizes={
        "square_3621": (3621, 3621),
        "one_to_four": (3593, 14372),
        "square_4000": (4000, 4000),
        "huge": (30_000, 20_000),
    },
    too_long=(CUT.side * 201, CUT.side),
    # 391 tokens as it is; at most 64, and at least 600.
    limits=PixelLimits((CUT.side * 23, CUT.side * 17), 64 * CUT.side**2, 600 * CUT.side**2),
)


def processor(snapshot: Path) -> Any:
    """AutoProcessor, as the recipe loads it."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(snapshot))


def config(numbers: Mapping[str, Any]) -> Any:
    """Qwen2VLConfig."""
    from transformers import Qwen2VLConfig

    return Qwen2VLConfig.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """Heads of 32 keep M-RoPE's sections in the published proportion of 16:24:24."""
    vision = {"depth": 2, "embed_dim": 64, "num_heads": 2, "hidden_size": 64}
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
    """The stand-in's: 960 tokens, the family's control tokens among them."""
    names = ("tokenizer_config.json", "chat_template.json", "preprocessor_config.json")
    return {**learnt("qwen2_vl"), **written("qwen2_vl", (*names, "generation_config.json"))}


def depths(config: Mapping[str, Any]) -> dict[str, int]:
    """Decoder layers and vision blocks; a newer library writes the former in `text_config`."""
    text, vision = config.get("text_config") or config, config.get("vision_config") or {}
    return {
        "model.layers": int(text.get("num_hidden_layers", 0)),
        "visual.blocks": int(vision.get("depth", 0)),
    }


def parts(model: Any) -> Parts:
    """Until transformers 4.51 the decoder is `model.model` and the tower `model.visual`; since
    4.52 both lie in `model.model`, as `language_model` and `visual`, and positions with them."""
    inside = hasattr(model.model, "language_model")
    decoder = model.model.language_model if inside else model.model
    tower = model.model.visual if inside else model.visual
    return around(
        decoder,
        owner=model.model if inside else model,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.patch_embed,
        blocks=tower.blocks,
        connector=tower.merger,
    )


def component(name: str) -> Component:
    """Norms of the decoder's layers count as norms."""
    if name.startswith("model.layers.") and "layernorm" in name:
        return Component.NORMS
    return next((part for prefix, part in PREFIXES if name.startswith(prefix)), Component.OTHER)


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_id)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """`smart_resize`."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    size = smart_resize(
        height, width, factor=CUT.side, min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS
    )
    return int(size[0]), int(size[1])


def position_ids(model: Any, batch: Mapping[str, Any]) -> Any:
    """int64 (3, batch, sequence)."""
    return library_positions(model, batch, picture_id(_compat.core(model).config))


def defined_positions(config: Any, batch: Mapping[str, Any]) -> list[list[list[int]]]:
    """Time, height and width; pictures alone, no videos."""
    return batch_positions(config, batch, CUT.merge)


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """The tower takes all patches at once and the grids that part them."""
    tower = parts(_compat.core(model)).tower
    tokens = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    return list(tokens.split([n // CUT.merge**2 for n in patches(batch)]))


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (merger: and token), and every picture attending to itself."""
    vision, total = config.vision_config, sum(patches)
    attended = 4 * sum(n * n for n in patches) * int(vision.embed_dim) * int(vision.depth)
    tower = 2 * total * (weights[Component.TOWER] + weights[Component.PATCH_EMBEDDING])
    return tower + 2 * (total // CUT.merge**2) * weights[Component.CONNECTOR] + attended
