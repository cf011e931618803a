"""Idefics3 (arXiv 2408.12637) as SmolVLM has it (arXiv 2504.05299): pictures in tiles.

SmolVLM2 (`smolvlm`) is another family: its processor is another class, with videos, and needs the
distribution num2words; its model keeps an empty picture where a batch has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.measuring import _compat
from harness.measuring.models._handed import converted
from harness.measuring.models._idefics3 import (
    ALONG,
    AROUND,
    BEGIN,
    END,
    IMAGE,
    LARGE,
    LARGE_IDS,
    MIDDLE,
    PAD,
    PLACE,
    PLACES,
    SMALL,
    SMALL_IDS,
    UNKNOWN,
    WHOLE,
    tiny_files,
)
from harness.measuring.models._parts import around
from harness.measuring.models._protocol import (
    BatchTensor,
    Chat,
    Mask,
    Parts,
    Published,
    Samples,
)
from harness.measuring.models._tiles import PIXELS, Tiles, real_tiles
from harness.records.components import Component

TITLE = "SmolVLM (Idefics3)"
SPECIAL = (
    "pictures in tiles beside the whole one, pixel shuffle, padded pictures, no token that begins "
    "a turn"
)
MODEL_TYPES = ("idefics3",)
NEEDS = {"transformers": ">=4.46"}
ARCHITECTURE = "Idefics3ForConditionalGeneration"
IMAGE_PROCESSOR = "Idefics3ImageProcessor"

# Revisions: as several public repositories pin them.
PUBLISHED = {
    "256m": Published(
        model_id="HuggingFaceTB/SmolVLM-256M-Instruct",
        revision="7e3e67edbbed1bf9888184d9df282b700a323964",
        config=SMALL,
        control_ids=SMALL_IDS,
    ),
    "500m": Published(
        model_id="HuggingFaceTB/SmolVLM-500M-Instruct",
        revision="a7da5b986cb59b408707209984f360a5f4ad7e47",
        config=MIDDLE,
        control_ids=SMALL_IDS,
    ),
    "2b": Published(
        model_id="HuggingFaceTB/SmolVLM-Instruct",
        revision="81cd9a775a4d644f2faf4e7becff4559b46b14c7",
        config=LARGE,
        control_ids=LARGE_IDS,
    ),
}

CHAT = Chat(
    turn_start="",
    turn_end=END,
    roles={"system": "System:", "user": "User:", "assistant": "Assistant:"},
    after_role="",
    image=IMAGE,
    masked=(AROUND, IMAGE, WHOLE, *PLACES),
    others=(BEGIN, PAD, UNKNOWN),
)
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "pixel_values": BatchTensor("images", "row", "pixels"),
    "pixel_attention_mask": BatchTensor("images", "row", "mask"),
    "labels": BatchTensor("labels"),
}
# Digits alone, then GPT-2's rule on what is between them.
SPLIT = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
CONFIG_TOKENS = {IMAGE: "image_token_id"}
POSITION_AXES = 1
MASK: Mask = "causal"
RENAMED: tuple[tuple[str, str], ...] = ()
NOT_QUANTISED = ("lm_head",)
TOWER = ("vision_model", "modality_projection")
TEXT, VISION = "model.text_model", "model.vision_model"
PREFIXES = (
    ("lm_head.", Component.HEAD),
    (f"{TEXT}.embed_tokens.", Component.EMBEDDING),
    (f"{TEXT}.norm.", Component.NORMS),
    (f"{TEXT}.layers.", Component.LANGUAGE),
    (f"{VISION}.embeddings.patch_embedding.", Component.PATCH_EMBEDDING),
    ("model.connector.", Component.CONNECTOR),
    (f"{VISION}.", Component.TOWER),
)

CUT = Tiles(ALONG, mean=0.5, std=0.5, place=PLACE, whole=WHOLE)
pictures = converted
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
image_tokens, one_by_one, together = CUT.image_tokens, CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering
# Of the published 256M and 500M.
LONGEST = 2048

SAMPLES = Samples(
    texts={
        "controls": f"{BEGIN}{END}{UNKNOWN}{PAD} {AROUND}{WHOLE}{IMAGE}",
        "places": "<row_1_col_1><row_6_col_6>\n<row_7_col_1> <row_1_col_1",
        "almost_controls": "<|im_start|<end_of_utterance >< image>",
        # A space or a line break before a digit belongs to what stands before it.
        "before_digits": "a  1\n\n2.  3\n 4 \n\n5 6",
    },
    # Ratios at which the number of tiles changes, whatever a tile's side is, and odd sides.
    sizes={
        "1x1": (1, 1),
        "tile": (64, 64),
        "photo": (300, 225),
        "portrait": (225, 300),
        "two_to_one": (200, 100),
        "two_to_one_and_more": (200, 101),
        "four_to_one": (400, 100),
        "four_to_one_less": (400, 99),
        "four_to_one_more": (400, 102),
        "one_row_tall": (99, 400),
        "as_it_is": (256, 192),
        "flat": (2000, 3),
        "slim": (3, 2000),
        "5000x4000": (5000, 4000),
    },
    plain=((256, 64), (128, 256)),
    # Where the shorter side comes out whole and odd, and a rounding error of a float's last bit
    # takes a pixel of it.
    rule_sizes={
        "whole_odd": (773, 2048),
        "photo": (3000, 4000),
        "tall": (4000, 3000),
        "square": (777, 777),
        "huge": (30_000, 20_000),
        "flat": (3, 5000),
        "slim": (5000, 3),
    },
)


def processor(snapshot: Path) -> Any:
    """AutoProcessor, as the recipe loads it."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(str(snapshot))


def config(numbers: Mapping[str, Any]) -> Any:
    """Idefics3Config."""
    from transformers import Idefics3Config

    return Idefics3Config.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tile makes 2 by 2 tokens; where the published size shares no key heads, or has more pixels
    than patches, so has this."""
    text, vision = config["text_config"], config["vision_config"]
    shares = text["num_key_value_heads"] < text["num_attention_heads"]
    factor, patch = (3, 14) if vision["image_size"] % vision["patch_size"] else (2, 16)
    return {
        **config,
        "scale_factor": factor,
        "text_config": {
            **text,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1 if shares else 2,
            "head_dim": 32,
        },
        "vision_config": {
            **vision,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 2 * factor * patch + vision["image_size"] % vision["patch_size"],
            "patch_size": patch,
        },
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The vocabulary of the stand-in with doubled spaces and line breaks, cut by digits first; the
    published settings for a tile of the tiny model's size."""
    return tiny_files(config, tiny(config))


def depths(config: Mapping[str, Any]) -> dict[str, int]:
    """Decoder layers and the tower's; a published config leaves out what is the library's default,
    32 and 12."""
    text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
    return {
        f"{TEXT}.layers": int(text.get("num_hidden_layers", 32)),
        f"{VISION}.encoder.layers": int(vision.get("num_hidden_layers", 12)),
    }


def parts(model: Any) -> Parts:
    """Tower, connector and decoder side by side in the inner model, in every release."""
    inner = model.model
    decoder, tower = inner.text_model, inner.vision_model
    return around(
        decoder,
        owner=inner,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.embeddings.patch_embedding,
        blocks=tower.encoder.layers,
        connector=inner.connector,
        leaving=inner.connector,
    )


def component(name: str) -> Component:
    """Norms of the decoder's layers count as norms."""
    if name.startswith(f"{TEXT}.layers.") and "layernorm" in name:
        return Component.NORMS
    return next((part for prefix, part in PREFIXES if name.startswith(prefix)), Component.OTHER)


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_id)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """Both of the processor's functions, at the 256M's settings; the second keeps 4096 px."""
    from transformers.models.idefics3 import image_processing_idefics3 as library

    size = library._resize_output_size_rescale_to_max_len(height, width, max_len=LONGEST)
    final = library._resize_output_size_scale_below_upper_bound(*size, max_len=2 * LONGEST)
    return int(final[0]), int(final[1])


def picture_side(image_tokens: int) -> int:
    """Any square picture takes the same number; this one is left as large as it is."""
    return LONGEST


def patches(batch: Mapping[str, Any]) -> tuple[int, ...]:
    """Of every tile, for each is a picture to the tower. Patches are 16 px, or 14 where a tile is
    no multiple of that or the 2.2B's."""
    side = int(batch[PIXELS].shape[-1])
    patch = 14 if side % 16 or side == LARGE["vision_config"]["image_size"] else 16
    return ((side // patch) ** 2,) * int(real_tiles(batch).sum())


def position_ids(model: Any, batch: Mapping[str, Any]) -> Any:
    """int64 (batch, sequence): counted, padding too, as the decoder does by itself."""
    import torch

    ids = batch["input_ids"]
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def defined_positions(config: Any, batch: Mapping[str, Any]) -> list[list[list[int]]]:
    """One after the other, pictures' tokens too."""
    ids, mask = batch["input_ids"], batch.get("attention_mask")
    counts = [len(row) if mask is None else int(mask[i].sum()) for i, row in enumerate(ids)]
    return [[list(range(count))] for count in counts]


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """A row's tiles together: the batch does not say which are of one picture."""
    inside, real = parts(_compat.core(model)), real_tiles(batch)
    tokens = inside.connector(inside.tower(batch[PIXELS][real]).last_hidden_state)
    return [part.flatten(0, 1) for part in tokens.split(real.sum(-1).tolist())]


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (connector: and token), and every tile attending to itself. The
    positions' table is looked up, not multiplied."""
    vision, total = config.vision_config, sum(patches)
    table = (int(vision.image_size) // int(vision.patch_size)) ** 2 * int(vision.hidden_size)
    width, depth = int(vision.hidden_size), int(vision.num_hidden_layers)
    attended = 4 * sum(n * n for n in patches) * width * depth
    multiplied = weights[Component.TOWER] - table + weights[Component.PATCH_EMBEDDING]
    tokens = total // int(config.scale_factor) ** 2
    return 2 * total * multiplied + 2 * tokens * weights[Component.CONNECTOR] + attended
