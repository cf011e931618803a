"""Qwen3-VL, the dense sizes (arXiv 2511.21631): ids, names, tensors, parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.data.samples import resize_sizes
from harness.measuring import _compat
from harness.measuring.models._chatml import CHAT as CHAT
from harness.measuring.models._chatml import PICTURED, chatml_files
from harness.measuring.models._chatml import SPLIT as SPLIT
from harness.measuring.models._chatml import TENSORS as TENSORS
from harness.measuring.models._mrope import batch_positions, library_positions
from harness.measuring.models._parts import around
from harness.measuring.models._patches import Patches, smart_resized
from harness.measuring.models._protocol import (
    Mask,
    Parts,
    Samples,
)
from harness.measuring.models._qwen3_vl_sizes import ARCHITECTURE as ARCHITECTURE
from harness.measuring.models._qwen3_vl_sizes import PUBLISHED as PUBLISHED
from harness.records.components import Component

TITLE = "Qwen3-VL"
SPECIAL = (
    "the tower's early blocks feed the decoder's first layers (deepstack), frequencies of "
    "time, height and width interleaved (M-RoPE), queries and keys normed, learned positions "
    "of patches interpolated, a tied head in the 2B and 4B"
)
MODEL_TYPES = ("qwen3_vl",)
# The patch's side is an argument of the fetch since qwen-vl-utils 0.0.14.
NEEDS = {"transformers": ">=4.57", "qwen-vl-utils": ">=0.0.14"}
IMAGE_PROCESSOR = "Qwen2VLImageProcessor"

CONFIG_TOKENS = {
    "<|vision_start|>": "vision_start_token_id",
    "<|vision_end|>": "vision_end_token_id",
    "<|image_pad|>": "image_token_id",
    "<|video_pad|>": "video_token_id",
}
POSITION_AXES = 3
MASK: Mask = "causal"
# The checkpoints spell names as the library does.
RENAMED: tuple[tuple[str, str], ...] = ()
# Only the output head is skipped by default: the tower and all mergers are quantised.
NOT_QUANTISED = ("lm_head",)
TOWER = ("visual",)
DECODER, SEES = "model.language_model", "model.visual"
PREFIXES = (
    ("lm_head.", Component.HEAD),
    (f"{DECODER}.embed_tokens.", Component.EMBEDDING),
    (f"{DECODER}.norm.", Component.NORMS),
    (f"{DECODER}.layers.", Component.LANGUAGE),
    (f"{SEES}.patch_embed.", Component.PATCH_EMBEDDING),
    (f"{SEES}.merger.", Component.CONNECTOR),
    (f"{SEES}.deepstack_merger_list.", Component.CONNECTOR),
    (f"{SEES}.", Component.TOWER),
)

# One patch is 16 px square and two frames deep; 2 x 2 of them make one token. Pixels lie between
# -1 and 1, as the published preprocessor_config.json has them.
CUT = Patches(patch=16, frames=2, merge=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MIN_PIXELS, MAX_PIXELS = 65_536, 16_777_216
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
patches, image_tokens, picture_side = CUT.patches, CUT.image_tokens, CUT.picture_side
one_by_one, together = CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering

SAMPLES = Samples(
    texts={
        "picture": "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n",
        "controls": "<|im_start|><|im_end|><|endoftext|> <|vision_pad|><|video_pad|>",
        "almost_controls": "<|im_start|<|im_end |> <image>",
    },
    sizes=resize_sizes(CUT.side, MIN_PIXELS, MAX_PIXELS),
    # The fewest pixels that are kept are those of 256 x 256.
    plain=((9 * CUT.side, 8 * CUT.side), (6 * CUT.side, 11 * CUT.side)),
    # The most pixels are a power of two, whose square root is exact; scaled to the fewest, the last
    # one's long side comes out whole, and a rounding error of the last bit adds a column.
    rule_sizes={
        "square_4097": (4097, 4097),
        "square_6000": (6000, 6000),
        "one_to_four": (4106, 16424),
        "huge": (30_000, 20_000),
        "one_to_49": (15, 735),
    },
    too_long=(CUT.side * 201, CUT.side),
)
# In our own words, with what the published one does: no turn of its own where no system text is
# given, a system's or an assistant's texts alone, pictures and films in a user's turn only.
TEMPLATE = (
    "{%- set seen = namespace(pictures=0, films=0) -%}"
    "{%- for turn in messages -%}"
    "{%- if turn.role in ('user', 'assistant') or (loop.first and turn.role == 'system') -%}"
    "{%- set pictured = turn.role == 'user' -%}"
    "{{- '<|im_start|>' ~ turn.role ~ '\\n' -}}"
    "{%- if turn.content is string -%}{{- turn.content -}}{%- else -%}"
    "{%- for part in turn.content -%}" + PICTURED + "{%- endfor -%}"
    "{%- endif -%}{{- '<|im_end|>\\n' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def processor(snapshot: Path) -> Any:
    """AutoProcessor, as the recipe loads it."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(snapshot))


def config(numbers: Mapping[str, Any]) -> Any:
    """Qwen3VLConfig."""
    from transformers import Qwen3VLConfig

    return Qwen3VLConfig.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """Three layers, the first two of which get what the tower's first two blocks see; heads whose
    widths do not add up to the model's; M-RoPE's sections in the published proportion."""
    text = {
        "head_dim": 32,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_scaling": {**config["text_config"]["rope_scaling"], "mrope_section": [6, 5, 5]},
    }
    vision = {
        "deepstack_visual_indexes": [0, 1],
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "num_position_embeddings": 100,
        "out_hidden_size": 64,
    }
    return {
        **config,
        "text_config": {**config["text_config"], **text},
        "vision_config": {**config["vision_config"], **vision},
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """960 tokens, the family's control tokens the last of them, and the published settings."""
    return {
        **chatml_files(TEMPLATE, "Qwen3VLProcessor"),
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
            "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
            **CUT.settings,
        },
    }


def depths(config: Mapping[str, Any]) -> dict[str, int]:
    """Decoder layers, vision blocks, and the mergers beside the last one."""
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    return {
        f"{DECODER}.layers": int(text.get("num_hidden_layers", 0)),
        f"{SEES}.blocks": int(vision.get("depth", 0)),
        f"{SEES}.deepstack_merger_list": len(vision.get("deepstack_visual_indexes", ())),
    }


def parts(model: Any) -> Parts:
    """Decoder and tower lie in the inner model, which derives positions too."""
    decoder, tower = model.model.language_model, model.model.visual
    return around(
        decoder,
        owner=model.model,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.patch_embed,
        blocks=tower.blocks,
        connector=tower.merger,
    )


def component(name: str) -> Component:
    """Norms of the decoder's layers count as norms, those of queries and keys too; every merger as
    the connector."""
    if name.startswith(f"{DECODER}.layers.") and "norm." in name:
        return Component.NORMS
    return next((part for prefix, part in PREFIXES if name.startswith(prefix)), Component.OTHER)


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_id)


def pictures(conversation: Sequence[Mapping[str, Any]]) -> list[Any]:
    """By qwen_vl_utils with the family's patch, as its README says: the default is the patch of
    the families before."""
    from qwen_vl_utils import process_vision_info

    images: list[Any] | None = process_vision_info(conversation, image_patch_size=CUT.patch)[0]
    return images or []


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """`smart_resize`."""
    return smart_resized(height, width, CUT.side, (MIN_PIXELS, MAX_PIXELS))


def position_ids(model: Any, batch: Mapping[str, Any]) -> Any:
    """int64 (3, batch, sequence)."""
    return library_positions(model, batch, picture_id(_compat.core(model).config))


def defined_positions(config: Any, batch: Mapping[str, Any]) -> list[list[list[int]]]:
    """Time, height and width; pictures alone, no videos."""
    return batch_positions(config, batch, CUT.merge)


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """What enters in the pictures' places: the last merger's tokens, not what later layers add. A
    tuple's first until transformers 4.57."""
    tower = parts(_compat.core(model)).tower
    out = tower(batch["pixel_values"], grid_thw=batch["image_grid_thw"])
    tokens = out[0] if isinstance(out, tuple) else out.pooler_output
    return list(tokens.split([n // CUT.merge**2 for n in patches(batch)]))


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (mergers: and token), and every picture attending to itself. The table
    of positions is looked up and multiplies no matrix."""
    vision, total = config.vision_config, sum(patches)
    width = int(vision.hidden_size)
    blocks = weights[Component.TOWER] - int(vision.num_position_embeddings) * width
    attended = 4 * sum(n * n for n in patches) * width * int(vision.depth)
    tower = 2 * total * (blocks + weights[Component.PATCH_EMBEDDING])
    return tower + 2 * (total // CUT.merge**2) * weights[Component.CONNECTOR] + attended
