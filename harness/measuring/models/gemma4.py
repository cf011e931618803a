"""Gemma 4: ids, names, tensors, parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.measuring import _compat
from harness.measuring.models._counted import defined_positions as defined_positions
from harness.measuring.models._counted import position_ids as position_ids
from harness.measuring.models._gemma4_files import files as tiny_files
from harness.measuring.models._gemma4_pictures import MOST, PATCH, POOL
from harness.measuring.models._gemma4_pictures import entering as entering
from harness.measuring.models._gemma4_pictures import filled as filled
from harness.measuring.models._gemma4_pictures import image_tokens as image_tokens
from harness.measuring.models._gemma4_pictures import levels as levels
from harness.measuring.models._gemma4_pictures import one_picture as one_picture
from harness.measuring.models._gemma4_pictures import patches as patches
from harness.measuring.models._gemma4_pictures import picture_grids as picture_grids
from harness.measuring.models._gemma4_pictures import proportions as proportions
from harness.measuring.models._gemma4_pictures import resized as resized
from harness.measuring.models._gemma4_sizes import ARCHITECTURE as ARCHITECTURE
from harness.measuring.models._gemma4_sizes import PUBLISHED as PUBLISHED
from harness.measuring.models._handed import converted
from harness.measuring.models._parts import around
from harness.measuring.models._protocol import (
    BatchTensor,
    Chat,
    Mask,
    Parts,
    Samples,
    TowerCall,
)
from harness.records.components import Component

TITLE = "Gemma 4"
SPECIAL = (
    "keys and values that later layers share or take from one projection, wider heads in full "
    "layers, tables of embeddings by layer, Linears that clip, pictures of any proportions"
)
MODEL_TYPES = ("gemma4",)
# The oldest that was measured.
NEEDS = {"transformers": ">=5.5"}
IMAGE_PROCESSOR = "Gemma4ImageProcessor"
CHAT = Chat(
    turn_start="<|turn>",
    turn_end="<turn|>",
    roles={"system": "system", "user": "user", "assistant": "model"},
    after_role="\n",
    image="<|image|>",
    masked=("<|image>", "<image|>", "<|image|>"),
    others=("<bos>", "<eos>", "<pad>", "<|video|>", "<|audio|>"),
    ordinary=r"\n+|\t+|[ ▁]+|</?(?:table|caption|t(?:head|body|foot|[rhd])|h[1-6]|blockquote|[uo]l"
    r"|li|strong|em|[bius]|su[bp]|code)>",
)
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "mm_token_type_ids": BatchTensor("ids", "row", "marks"),
    "pixel_values": BatchTensor("images", "picture", "pixels"),
    "image_position_ids": BatchTensor("images", "picture"),
    "labels": BatchTensor("labels"),
}
# Nothing is cut: what stands between two control tokens is paired as one.
SPLIT = r"[\s\S]+"
CONFIG_TOKENS = {
    "<|image>": "boi_token_id",
    "<image|>": "eoi_token_id",
    "<|image|>": "image_token_id",
    "<|video|>": "video_token_id",
    "<|audio|>": "audio_token_id",
}
POSITION_AXES = 1
# Of the larger ones, in the layers with windows; the smaller ones' mask is causal.
MASK: Mask = "pictures see both ways"
RENAMED: tuple[tuple[str, str], ...] = ()
NOT_QUANTISED = ("lm_head",)
TOWER = ("vision_tower", "embed_vision")
PREFIXES = (
    ("lm_head.", Component.HEAD),
    ("model.language_model.embed_tokens.", Component.EMBEDDING),
    # Looked up by layer; it is not the head's.
    ("model.language_model.embed_tokens_per_layer.", Component.OTHER),
    ("model.language_model.", Component.LANGUAGE),
    ("model.embed_vision.", Component.CONNECTOR),
    ("model.vision_tower.patch_embedder.", Component.PATCH_EMBEDDING),
    ("model.vision_tower.", Component.TOWER),
)

# Of the tiny model: the fewest that the library allows.
FEWEST = 70
SAMPLES = Samples(
    texts={
        "controls": "<|turn><turn|><eos> <|image><image|>",
        "almost_controls": "<|turn> <turn |> <image>",
        "line_break_runs": "a\n\nb\n\n\n \n\nc",
        "space_runs": " a  b   c    d     e",
        "tags": "<table><tr><td>1</td></tr></table>",
    },
    # Scaled up or down until a budget of patches is filled, sides of 48 px.
    sizes={
        "1x1": (1, 1),
        "48": (48, 48),
        "photo": (300, 225),
        "whole": (480, 336),
        "whole_plus_one": (481, 336),
        "wide": (400, 20),
        "tall": (20, 400),
        "line": (900, 2),
        "2000x1600": (2000, 1600),
    },
    # All of the tiny budget, and less.
    plain=((480, 336), (384, 384)),
    rule_sizes={"photo": (225, 300), "whole": (672, 960), "huge": (30_000, 20_000)},
)

pictures = converted


def processor(snapshot: Path) -> Any:
    """AutoProcessor."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(snapshot))


def config(numbers: Mapping[str, Any]) -> Any:
    """Gemma4Config."""
    from transformers import Gemma4Config

    return Gemma4Config.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """One model with the special parts of all sizes: the last two of four layers share keys and
    values and are twice as wide inside, full layers take keys as values, tables by layer, Linears
    that clip, a standardised tower, pictures that see both ways. None hears."""
    text = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "head_dim": 32,
        "global_head_dim": 64,
        "attention_k_eq_v": True,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 64,
        "sliding_window": 40,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "use_bidirectional_attention": "vision",
    }
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "position_embedding_size": 256,
        "use_clipped_linears": True,
        "standardize": True,
    }
    return {
        **config,
        "text_config": {**config["text_config"], **text},
        "vision_config": {**config["vision_config"], **vision},
        "audio_config": None,
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same for every size."""
    return tiny_files(FEWEST)


def depths(config: Mapping[str, Any]) -> dict[str, int]:
    """Decoder layers and vision blocks."""
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    return {
        "model.language_model.layers": int(text.get("num_hidden_layers", 0)),
        "model.vision_tower.encoder.layers": int(vision.get("num_hidden_layers", 0)),
    }


def parts(model: Any) -> Parts:
    """All in the inner model."""
    inner = model.model
    decoder, tower = inner.language_model, inner.vision_tower
    return around(
        decoder,
        owner=inner,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.patch_embedder,
        blocks=tower.encoder.layers,
        connector=inner.embed_vision,
        leaving=inner.embed_vision,
    )


def component(name: str) -> Component:
    """Norms of the decoder count as norms, those of queries and keys too."""
    if name.startswith("model.language_model.") and "norm" in name:
        return Component.NORMS
    return next((part for prefix, part in PREFIXES if name.startswith(prefix)), Component.OTHER)


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_id)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """`get_aspect_ratio_preserving_size`."""
    from transformers.models.gemma4.processing_gemma4 import get_aspect_ratio_preserving_size

    size = get_aspect_ratio_preserving_size(height, width, PATCH, MOST * POOL**2, POOL)
    return int(size[0]), int(size[1])


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """Tower, pooling and projection."""
    core = _compat.core(model)
    out = core.get_image_features(
        batch["pixel_values"], batch["image_position_ids"], return_dict=True
    )
    return list(out.pooler_output)


def one_by_one(*args: Any, **kwargs: Any) -> list[TowerCall]:
    """Patches (pictures, patches, width) and their places, one picture a call."""
    given = {**dict(zip(("pixel_values", "pixel_position_ids"), args, strict=False)), **kwargs}
    pixels, places = given.pop("pixel_values"), given.pop("pixel_position_ids")
    split = zip(pixels.split(1), places.split(1), strict=True)
    return [TowerCall(picture, place.reshape(1, -1), given) for picture, place in split]


def together(calls: Sequence[TowerCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Patches and places, picture by picture."""
    import torch

    places = torch.cat([call.shape for call in calls])
    pixels = torch.cat([call.pixels for call in calls])
    return (pixels,), {"pixel_position_ids": places.reshape(*pixels.shape[:2], 2), **calls[0].rest}


def picture_side(image_tokens: int) -> int:
    """Every picture is scaled until it fills the budget."""
    return PATCH * POOL * int(MOST**0.5)


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (projection: and token), and every picture attending to itself."""
    vision, total = config.vision_config, sum(patches)
    width = int(vision.num_attention_heads) * int(vision.head_dim)
    attended = 4 * sum(n * n for n in patches) * width * int(vision.num_hidden_layers)
    tower = 2 * total * (weights[Component.TOWER] + weights[Component.PATCH_EMBEDDING])
    tokens = total // int(vision.pooling_kernel_size) ** 2
    return int(tower + 2 * tokens * weights[Component.CONNECTOR] + attended)
