"""LLaVA-OneVision (arXiv 2408.03326) in the publisher's format for transformers.

Films are not here. Of a conversation's pictures the template writes none where it stands: all come
before the turn's texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from harness.measuring import _compat
from harness.measuring.models._arranged import Arranged
from harness.measuring.models._byte_level import spelled_files
from harness.measuring.models._chatml import SPLIT as SPLIT
from harness.measuring.models._counted import defined_positions as defined_positions
from harness.measuring.models._counted import position_ids as position_ids
from harness.measuring.models._features import Features
from harness.measuring.models._handed import converted
from harness.measuring.models._parts import around
from harness.measuring.models._protocol import BatchTensor, Chat, Mask, Parts, Published, Samples
from harness.measuring.models._side_by_side import SideBySide
from harness.measuring.models._squares import Squares, square_settings
from harness.measuring.models.qwen2_vl import processor as processor

TITLE = "LLaVA-OneVision"
SPECIAL = (
    "a row's only picture in up to 36 tiles of its own proportions behind the whole of it, their "
    "patches' margins cut off, made fewer by bilinear interpolation, a learned token at the end of "
    "each line; several pictures of a row laid on squares; the tower's last norm left out; "
    "pictures before all texts of a turn; a tied head in the 0.5B"
)
MODEL_TYPES = ("llava_onevision",)
NEEDS = {"transformers": ">=4.52"}
ARCHITECTURE = "LlavaOnevisionForConditionalGeneration"
IMAGE_PROCESSOR = "LlavaOnevisionImageProcessor"
IMAGE, FILM = "<image>", "<video>"
ENDS = {"bos_token_id": "<|endoftext|>", "eos_token_id": "<|im_end|>"}
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE, FILM)
SIDE, PATCH, KEPT = 384, 14, 9
# Of every colour the mean is a half: of 255, cut, on the ground.
ALIKE = Squares(side=SIDE, patch=PATCH, middle=0.5)
MIDDLE = (0.5, 0.5, 0.5)
CUT = Arranged(side=SIDE, patch=PATCH, along=6, kept=KEPT, ground=127)
levels, one_by_one, together = ALIKE.levels, ALIKE.one_by_one, ALIKE.together
one_picture, resized, patches = CUT.one_picture, CUT.resized, CUT.patches
filled, entering, image_tokens = CUT.filled, CUT.entering, CUT.image_tokens
picture_grids, proportions, picture_side = CUT.picture_grids, CUT.proportions, CUT.picture_side
vision_flops = CUT.vision_flops
pictures = converted


def _config(
    tied: bool, *, width: int, inner: int, layers: int, heads: int, keys: int, rows: int
) -> Mapping[str, Any]:
    """A size's: SigLIP without its last block and its head, and Qwen2."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "llava_onevision",
        "image_grid_pinpoints": CUT.pinpoints(SIDE),
        "image_token_index": 151646,
        "video_token_index": 151647,
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": tied,
        "vision_aspect_ratio": f"anyres_max_{KEPT}",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "text_config": {
            "model_type": "qwen2",
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": tied,
            "use_sliding_window": False,
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "vocab_size": rows,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "image_size": SIDE,
            "intermediate_size": 4304,
            "layer_norm_eps": 1e-6,
            "num_attention_heads": 16,
            "num_hidden_layers": 26,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
    }


def _published(size: str, revision: str, config: Mapping[str, Any]) -> Published:
    """revision: as public projects pin it, or as their paths to a cache name it."""
    ids = {token: 151643 + place for place, token in enumerate(CONTROLS)}
    return Published(f"llava-hf/llava-onevision-qwen2-{size}-ov-hf", revision, config, ids)


PUBLISHED = {
    "0.5b": _published(
        "0.5b",
        "74dd0bf867a4cda7950c17663794267c60cf4b40",
        _config(True, width=896, inner=4864, layers=24, heads=14, keys=2, rows=151936),
    ),
    "7b": _published(
        "7b",
        "0d50680527681998e456c7b78950205bedd8a068",
        _config(False, width=3584, inner=18944, layers=28, heads=28, keys=4, rows=152064),
    ),
}
CHAT = Chat(
    turn_start="<|im_start|>",
    turn_end="<|im_end|>",
    roles={"system": "system", "user": "user", "assistant": "assistant"},
    after_role=" \n",
    image=IMAGE,
    masked=(IMAGE,),
    others=(FILM, "<|endoftext|>"),
)
# Pictures are filled up with empty tiles; how many a row has, rows without one left out.
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "pixel_values": BatchTensor("images", "picture", "pixels"),
    "image_sizes": BatchTensor("images", "picture"),
    "batch_num_images": BatchTensor("images", "picture"),
    "labels": BatchTensor("labels"),
}
CONFIG_TOKENS = {IMAGE: "image_token_index", FILM: "video_token_index"}
POSITION_AXES = 1
MASK: Mask = "causal"
LAID = SideBySide(
    "vision_tower.vision_model", "embeddings.patch_embedding", "encoder.layers", ("image_newline",)
)
RENAMED, component, depths = LAID.renamed, LAID.component, LAID.depths
NOT_QUANTISED = ("lm_head",)
TOWER = ("vision_tower",)
# Of the tiny model: four by four patches a tile.
SMALL = 56
SAMPLES = Samples(
    texts={
        "controls": f"<|im_start|><|im_end|><|endoftext|> {IMAGE}{FILM}",
        "after_a_role": "user \nassistant \n \n\nsystem\n",
        "almost_controls": "<|im_start|<|im_end |> < image><image ><Image>",
    },
    # Proportions and areas at which another arrangement of tiles is chosen, margins appear, and
    # patches become fewer: more than 9 · 1.1² tiles' of them.
    sizes={
        "1x1": (1, 1),
        "tile": (SMALL, SMALL),
        "a_pixel_more": (SMALL + 1, SMALL),
        "photo": (300, 225),
        "portrait": (225, 300),
        "margins_above": (112, 28),
        "margins_beside": (28, 112),
        "all_kept": (196, 168),
        "fewer_kept": (224, 168),
        "largest": (336, 336),
        "flat": (2000, 3),
        "slim": (3, 2000),
        "5000x4000": (5000, 4000),
    },
    # Margins and too many patches. The whole of it becomes one tile by 6 and by 7 halves, which
    # Pillow and torchvision round alike.
    plain=((6 * SMALL, 7 * SMALL // 2), (SMALL, 3 * SMALL)),
    rule_sizes={
        "photo": (3000, 4000),
        "square": (777, 777),
        "as_large_as_two": (384, 768),
        "a_little_less": (383, 767),
        "huge": (30_000, 20_000),
        "flat": (3, 5000),
        "slim": (5000, 3),
    },
)


def config(numbers: Mapping[str, Any]) -> Any:
    """LlavaOnevisionConfig."""
    from transformers import LlavaOnevisionConfig

    return LlavaOnevisionConfig.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tile makes 4 by 4 tokens; as many tiles along as published."""
    blocks = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    text = {**blocks, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {**blocks, "num_attention_heads": 2, "image_size": SMALL}
    return {
        **config,
        "image_grid_pinpoints": CUT.pinpoints(SMALL),
        "text_config": {**config["text_config"], **text},
        "vision_config": {**config["vision_config"], **vision},
    }


# In our own words: a role and a space; a turn's pictures, its films, then each of its texts on a
# line of its own, wherever they stood. A content that is one text has no parts and is lost.
TEMPLATE = (
    "{%- for turn in messages -%}{{- '<|im_start|>' ~ turn.role ~ ' ' -}}"
    "{%- if turn.content is not string -%}"
    "{%- for part in turn.content if part.type == 'image' -%}{{- '<image>' -}}{%- endfor -%}"
    "{%- for part in turn.content if part.type == 'video' -%}{{- '<video>' -}}{%- endfor -%}"
    "{%- for part in turn.content if part.type == 'text' -%}{{- '\n' ~ part.text -}}{%- endfor -%}"
    "{%- endif -%}{{- '<|im_end|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The vocabulary of the recipe's stand-in, the published settings for the tiny tile."""
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "LlavaOnevisionProcessor",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    return {
        **spelled_files(CONTROLS, TEMPLATE, settings, ENDS),
        "processor_config.json": {
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": (SMALL // PATCH) ** 2,
            "vision_aspect_ratio": config["vision_aspect_ratio"],
            "vision_feature_select_strategy": config["vision_feature_select_strategy"],
        },
        "preprocessor_config.json": {
            "image_processor_type": IMAGE_PROCESSOR,
            "processor_class": "LlavaOnevisionProcessor",
            "do_pad": True,
            "image_grid_pinpoints": CUT.pinpoints(SMALL),
            **square_settings(SMALL, MIDDLE, MIDDLE),
        },
    }


def parts(model: Any) -> Parts:
    """Tower, connector and decoder side by side in the inner model."""
    inner = model.model
    decoder, tower = inner.language_model, inner.vision_tower
    # Until transformers 5.6 the tower's own lay one deeper.
    inside = getattr(tower, "vision_model", tower)
    return around(
        decoder,
        owner=inner,
        head=model.lm_head,
        tower=tower,
        patch_embedding=inside.embeddings.patch_embedding,
        blocks=inside.encoder.layers,
        connector=inner.multi_modal_projector,
        leaving=Features(inner),
    )


def picture_id(config: Any) -> int:
    """Of the whole model's config."""
    return int(config.image_token_index)


def resize_rule(height: int, width: int) -> tuple[int, int]:
    """What the tiles cover, of the published arrangements and size."""
    from transformers.image_processing_utils import select_best_resolution

    best = select_best_resolution((height, width), CUT.pinpoints(SIDE))
    return int(best[0]), int(best[1])


def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
    """Tower, projection, lines cut and ended, picture by picture."""
    return CUT.features(parts(_compat.core(model)).owner, batch)
