"""InternVL3 (arXiv 2504.10479) in the publisher's format for transformers: ids, names, parts.

Positions are counted: of the report's variable steps for pictures (V2PE) the published checkpoints
ask for none, which is a step of one. InternVL3.5, whose decoder is Qwen3, has the same `model_type`
and is not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from harness.measuring import _compat
from harness.measuring.models._chatml import SPLIT as SPLIT
from harness.measuring.models._counted import defined_positions as defined_positions
from harness.measuring.models._counted import position_ids as position_ids
from harness.measuring.models._handed import converted
from harness.measuring.models._internvl import ARCHITECTURE as ARCHITECTURE
from harness.measuring.models._internvl import BEFORE, BEHIND, CONTEXT, FILM, tiny_files
from harness.measuring.models._internvl import PUBLISHED as PUBLISHED
from harness.measuring.models._parts import around
from harness.measuring.models._protocol import (
    BatchTensor,
    Chat,
    Mask,
    OnePicture,
    Parts,
    Samples,
)
from harness.measuring.models._side_by_side import SideBySide
from harness.measuring.models._squares import Squares
from harness.measuring.models.qwen2_vl import picture_id as picture_id
from harness.measuring.models.qwen2_vl import processor as processor
from harness.records.components import Component

TITLE = "InternVL3"
SPECIAL = (
    "up to twelve tiles by a picture's proportions and the whole of it once more, pixel shuffle, a "
    "tower whose blocks scale what they add (in the 38B with queries and keys normed), biases of "
    "queries, keys and values"
)
MODEL_TYPES = ("internvl",)
NEEDS = {"transformers": ">=4.52"}
IMAGE_PROCESSOR = "GotOcr2ImageProcessor"

CHAT = Chat(
    turn_start="<|im_start|>",
    turn_end="<|im_end|>",
    roles={"system": "system", "user": "user", "assistant": "assistant"},
    after_role="\n",
    image=CONTEXT,
    masked=(BEFORE, BEHIND, CONTEXT),
    others=(FILM, "<|endoftext|>"),
)
# A tile is a picture to the tower, and nothing in a batch says which are of one picture.
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "pixel_values": BatchTensor("images", "picture", "pixels"),
    "labels": BatchTensor("labels"),
}
CONFIG_TOKENS = {CONTEXT: "image_token_id"}
POSITION_AXES = 1
MASK: Mask = "causal"
LAID = SideBySide("vision_tower", "embeddings.patch_embeddings", "encoder.layer")
RENAMED, component, depths = LAID.renamed, LAID.component, LAID.depths
NOT_QUANTISED = ("lm_head",)
TOWER = ("vision_tower",)

# ImageNet's mean and deviation, as the published preprocessor_config.json has them.
SIDE, PATCH, MOST = 448, 14, 12
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ALIKE = Squares(side=SIDE, patch=PATCH, middle=0.5)
patches, one_by_one, together = ALIKE.patches, ALIKE.one_by_one, ALIKE.together
proportions, filled, entering = ALIKE.proportions, ALIKE.filled, ALIKE.entering
pictures = converted
# Of the tiny model: four by four patches, of which two by two make one token.
SMALL_SIDE, SMALL_TOKENS = 56, 4
SAMPLES = Samples(
    texts={
        "controls": f"<|im_start|><|im_end|><|endoftext|> {BEFORE}{CONTEXT}{BEHIND}{FILM}",
        "places": "<ref>the mug</ref><box>[[1, 2, 30, 40]]</box><quad></quad>",
        "almost_controls": "<|im_start|<|im_end |> <image><IMG_CONTEXT <img >",
    },
    # Ratios at which the number of tiles changes, and areas at which it does for one ratio: more
    # than half of what the tiles cover.
    sizes={
        "1x1": (1, 1),
        "tile": (SMALL_SIDE, SMALL_SIDE),
        "square_79": (79, 79),
        "square_80": (80, 80),
        "published_tile": (SIDE, SIDE),
        "photo": (300, 225),
        "portrait": (225, 300),
        "two_to_one_less": (158, 79),
        "two_to_one_more": (160, 80),
        "between_one_and_a_half_and_two": (70, 40),
        "one_row": (168, 56),
        "twelve_to_one": (672, 56),
        "flat": (2000, 3),
        "slim": (3, 2000),
        "5000x4000": (5000, 4000),
    },
    # Cut, not resized; the whole of each becomes one tile by a half or a third of one side.
    plain=((2 * SMALL_SIDE, SMALL_SIDE), (SMALL_SIDE, 3 * SMALL_SIDE)),
    rule_sizes={
        "photo": (3000, 4000),
        "tall": (4000, 3000),
        "square": (777, 777),
        "between_one_and_a_half_and_two": (400, 700),
        "the_same_and_large": (4000, 7000),
        # As far from 1:1 as from 4:3.
        "seven_to_six": (240, 280),
        "huge": (30_000, 20_000),
        "flat": (3, 5000),
        "slim": (5000, 3),
    },
)


def config(numbers: Mapping[str, Any]) -> Any:
    """InternVLConfig. Where a config.json says nothing of a tied head, as the published ones, this
    says what their checkpoints are: transformers takes it for tied since 5."""
    from transformers import InternVLConfig

    tied = numbers.get("tie_word_embeddings", False)
    return InternVLConfig.from_dict({**deepcopy(dict(numbers)), "tie_word_embeddings": tied})


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tile makes 2 by 2 tokens; the tower keeps the norms and biases of its published size."""
    text = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "max_window_layers": 2,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    vision = {
        "hidden_size": 64,
        "image_size": [SMALL_SIDE, SMALL_SIDE],
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
    }
    return {
        **config,
        "image_seq_length": SMALL_TOKENS,
        "text_config": {**config["text_config"], **text},
        "vision_config": {**config["vision_config"], **vision},
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The vocabulary of the recipe's stand-in, the published settings for a tile of the tiny
    model's size."""
    return tiny_files(tiny(config))


def parts(model: Any) -> Parts:
    """Tower, connector and decoder side by side in the inner model, in every release."""
    inner = model.model
    decoder, tower = inner.language_model, inner.vision_tower
    return around(
        decoder,
        owner=inner,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.embeddings.patch_embeddings,
        blocks=tower.encoder.layer,
        connector=inner.multi_modal_projector,
        leaving=inner.multi_modal_projector,
    )


def one_picture(processor: Any, picture: Any) -> OnePicture:
    """pixels: float32 (tiles, 3, side, side). grid: tiles, the whole picture's among them, and
    their side in px. By the whole processor: the image processor alone cuts no tiles."""
    out = processor(text=[processor.image_token], images=[picture], return_tensors="pt")
    pixels = out["pixel_values"]
    tokens = int((out["input_ids"] == processor.image_token_id).sum())
    return OnePicture(pixels, [len(pixels), int(pixels.shape[-1])], tokens)


def levels(pixels: Any) -> tuple[Any, float]:
    """uint8 (tiles, 3, side, side)."""
    import numpy as np

    mean, std = np.array(MEAN).reshape(3, 1, 1), np.array(STD).reshape(3, 1, 1)
    exact = (np.asarray(pixels, dtype=np.float64) * std + mean) * 255.0
    whole = np.round(exact)
    return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())


def resized(picture: Any, grid: Sequence[int]) -> Any:
    """Pillow's bicubic filter: to as many tiles as there are, in columns and rows that come
    nearest to the picture's proportions, and to one. uint8 (tiles, 3, side, side)."""
    import numpy as np
    from PIL import Image

    tiles, side = grid
    cut = tiles - (tiles > 1)
    ratio, whole = picture.width / picture.height, picture.convert("RGB")
    possible = [columns for columns in range(1, cut + 1) if cut % columns == 0]
    columns = min(possible, key=lambda columns: abs(ratio - columns * columns / cut))
    rows = cut // columns

    def made(wanted: tuple[int, int]) -> Any:
        """(height, width, 3), rows before columns: Pillow 13 may turn that round by itself."""
        narrow = whole.resize((wanted[0], whole.height), Image.Resampling.BICUBIC)
        return np.asarray(narrow.resize(wanted, Image.Resampling.BICUBIC))

    split = made((columns * side, rows * side)).reshape(rows, side, columns, side, 3)
    shown = split.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
    if tiles > 1:
        shown = np.concatenate([shown, made((side, side))[None]])
    return shown.transpose(0, 3, 1, 2)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """What all tiles of a picture cover, in the published number and size."""
    from transformers.models.got_ocr2 import image_processing_got_ocr2 as library

    columns, rows = library.get_optimal_tiled_canvas((height, width), (SIDE, SIDE), 1, MOST)
    return rows * SIDE, columns * SIDE


def image_tokens(processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]) -> list[int]:
    """The same number for every tile. A batch does not say whose a tile is: rows share them as
    their ids do, and what those have less or more than the pixels is the first picture's."""
    each, pixels = int(processor.image_seq_length), batch.get("pixel_values")
    total = 0 if pixels is None else each * len(pixels)
    shares = [0] * len(pictures)
    if "input_ids" in batch:
        counted = (batch["input_ids"] == processor.image_token_id).sum(-1).tolist()
        shares = [count if n else 0 for count, n in zip(counted, pictures, strict=True)]
    if any(pictures):
        shares[next(i for i, n in enumerate(pictures) if n)] += total - sum(shares)
    return shares


def picture_grids(processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
    """Not said: tiles stand one after the other."""
    return None


def picture_side(image_tokens: int) -> int:
    """One, two or three tiles along: a square takes more once it covers half of them."""
    each = (SIDE // PATCH // 2) ** 2
    along = min((1, 2, 3), key=lambda n: abs(image_tokens - each * (n * n + (n > 1))))
    return along * SIDE


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """Tower, pixel shuffle and projection, tile by tile."""
    out = parts(_compat.core(model)).owner.get_image_features(batch["pixel_values"])
    # A tensor's tokens until transformers 4.57, then an output's.
    return list(getattr(out, "pooler_output", out))


def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
    """2 per weight and patch (connector: and token), and every tile attending to itself; its class
    token goes through the blocks with its patches."""
    vision, total = config.vision_config, sum(patches)
    shown = [n + 1 for n in patches]
    attended = 4 * sum(n * n for n in shown) * int(vision.hidden_size)
    blocks = 2 * sum(shown) * weights[Component.TOWER]
    tokens = int(total * float(config.downsample_ratio) ** 2)
    embedded = 2 * total * weights[Component.PATCH_EMBEDDING]
    connector = 2 * tokens * weights[Component.CONNECTOR]
    return blocks + embedded + connector + attended * int(vision.num_hidden_layers)
