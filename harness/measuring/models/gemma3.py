"""Gemma 3 (arXiv 2503.19786): ids, names, tensors, parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.measuring import _compat
from harness.measuring.models._counted import defined_positions as defined_positions
from harness.measuring.models._counted import position_ids as position_ids
from harness.measuring.models._gemma3_files import files as tiny_files
from harness.measuring.models._gemma3_sizes import ARCHITECTURE as ARCHITECTURE
from harness.measuring.models._gemma3_sizes import PUBLISHED as PUBLISHED
from harness.measuring.models._handed import converted
from harness.measuring.models._parts import around
from harness.measuring.models._protocol import (
    BatchTensor,
    Chat,
    Mask,
    Parts,
    Samples,
)
from harness.measuring.models._side_by_side import SideBySide
from harness.measuring.models._squares import Squares
from harness.records.components import Component

TITLE = "Gemma 3"
SPECIAL = (
    "pictures that see both ways, windows in five of six layers with angles of their own, norms of "
    "queries and keys, a `model` role and no system turn, every picture 896 px square"
)
MODEL_TYPES = ("gemma3",)
NEEDS = {"transformers": ">=4.50"}
IMAGE_PROCESSOR = "Gemma3ImageProcessor"

CHAT = Chat(
    turn_start="<start_of_turn>",
    turn_end="<end_of_turn>",
    # The system text begins the user's first turn.
    roles={"user": "user", "assistant": "model"},
    after_role="\n",
    image="<image_soft_token>",
    masked=("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    others=("<bos>", "<eos>", "<pad>"),
    ordinary=r"\n+|\t+|[ ▁]+|</?(?:table|caption|t(?:head|body|foot|[rhd])|h[1-6]|blockquote|[uo]l"
    r"|li|strong|em|[bius]|su[bp]|code)>",
    # With `do_pan_and_scan`, which is an argument of the call alone.
    beside=("Here is the original image", "and here are some crops to help you see better"),
)
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "token_type_ids": BatchTensor("ids", "row", "marks"),
    "pixel_values": BatchTensor("images", "picture", "pixels"),
    "labels": BatchTensor("labels"),
}
# Nothing is cut: what stands between two control tokens is paired as one.
SPLIT = r"[\s\S]+"
CONFIG_TOKENS = {
    "<start_of_image>": "boi_token_index",
    "<end_of_image>": "eoi_token_index",
    "<image_soft_token>": "image_token_index",
}
POSITION_AXES = 1
MASK: Mask = "pictures see both ways"
LAID = SideBySide("vision_tower.vision_model", "embeddings.patch_embedding", "encoder.layers")
RENAMED, component, depths = LAID.renamed, LAID.component, LAID.depths
NOT_QUANTISED = ("lm_head",)
TOWER = ("vision_tower",)

CUT = Squares(side=896, patch=14, middle=0.5)
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
patches, image_tokens, picture_side = CUT.patches, CUT.image_tokens, CUT.picture_side
one_by_one, together = CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering
# Of the tiny model: six by six patches, of which two by two make one token.
SMALL_SIDE, SMALL_TOKENS = 84, 9
SAMPLES = Samples(
    texts={
        "controls": "<start_of_turn><end_of_turn><eos> <start_of_image><end_of_image>",
        "almost_controls": "<start_of_turn <end_of_turn |> <image>",
        "line_break_runs": "a\n\nb\n\n\n \n\nc",
        "space_runs": " a  b   c    d     e",
        "tags": "<table><tr><td>1</td></tr></table>",
        "own_space_mark": "a▁b ▁ c",
    },
    sizes={
        "1x1": (1, 1),
        "83": (83, 83),
        "84": (84, 84),
        "85x84": (85, 84),
        "photo": (300, 225),
        "wide": (400, 20),
        "tall": (20, 400),
        "896": (896, 896),
        "895x897": (895, 897),
        "2000x1600": (2000, 1600),
    },
    # There is one size that no resize touches.
    plain=None,
    rule_sizes={"photo": (225, 300), "huge": (30_000, 20_000)},
)

pictures = converted


def processor(snapshot: Path) -> Any:
    """AutoProcessor."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(snapshot))


def config(numbers: Mapping[str, Any]) -> Any:
    """Gemma3Config."""
    from transformers import Gemma3Config

    return Gemma3Config.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """Three layers, every second one without a window; a window that the texts outgrow; scores
    scaled by neither a head's width nor the width by heads, as no size has all three alike."""
    text = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "query_pre_attn_scalar": 24,
        "sliding_window": 24,
        "sliding_window_pattern": 2,
    }
    vision = {
        "hidden_size": 64,
        "image_size": SMALL_SIDE,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
    }
    return {
        **config,
        "mm_tokens_per_image": SMALL_TOKENS,
        "text_config": {**config["text_config"], **text},
        "vision_config": {**config["vision_config"], **vision},
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same for every size."""
    return tiny_files(SMALL_SIDE, SMALL_TOKENS)


def parts(model: Any) -> Parts:
    """Until transformers 4.51 everything lies in the outer model, since 4.52 in its inner one; the
    tower has no shell of its own since 5.6."""
    inner = model.model if hasattr(model, "model") else model
    decoder = inner.language_model
    decoder = getattr(decoder, "model", decoder)
    tower = inner.vision_tower
    body = getattr(tower, "vision_model", tower)
    return around(
        decoder,
        owner=inner,
        head=model.get_output_embeddings(),
        tower=tower,
        patch_embedding=body.embeddings.patch_embedding,
        blocks=body.encoder.layers,
        connector=inner.multi_modal_projector,
        leaving=inner.multi_modal_projector,
    )


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_index)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """Always the square that the published tower takes, whatever the picture's proportions."""

    side = int(config(PUBLISHED["4b"].config).vision_config.image_size)
    return side, side


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """Tower, pooling and projection."""
    modules = parts(_compat.core(model))
    hidden = modules.tower(batch["pixel_values"]).last_hidden_state
    return list(modules.connector(hidden))


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (projection: and token), and every picture attending to itself; the
    table of places multiplies nothing."""
    vision, total = config.vision_config, sum(patches)
    places = (int(vision.image_size) // int(vision.patch_size)) ** 2
    attended = 4 * sum(n * n for n in patches) * vision.hidden_size * vision.num_hidden_layers
    matrices = weights[Component.TOWER] + weights[Component.PATCH_EMBEDDING]
    tower = 2 * total * (matrices - places * int(vision.hidden_size))
    tokens = len(patches) * int(config.mm_tokens_per_image)
    return int(tower + 2 * tokens * weights[Component.CONNECTOR] + attended)
