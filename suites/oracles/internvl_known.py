"""What InternVL3's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .known import CONVERTED, IMAGE_URL, PADDING_COUNTED, rounded, tower_too
from .ladder import Known

_TIED = "transformers 5.24.0, InternVLConfig"
_SILENT = (
    "The published config.json says nothing of a tied head, which transformers 5 takes for a tied "
    "one (InternVLConfig.tie_word_embeddings), though the checkpoints have a head of their own. "
    "from_pretrained keeps it and warns; what is counted from the config alone lacks it."
)
_COUNTED = (
    "inventory.model",
    "parameters.model",
    "lora_total.model",
    "parameter_bytes.model.*",
    "bytes.model.*",
    "bytes_by_component.model.*",
)
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        IMAGE_URL,
        Known(
            "ids.padding_side",
            "The processor has a side of its own, left, which comes before the tokenizer's unless "
            "tokenizer_config.json names one, and the published one names none: "
            'processor.tokenizer.padding_side = "right" changes nothing. Give padding_side in the '
            "call.",
            "transformers 5.24.0, InternVLProcessor.text_kwargs",
        ),
        *CONVERTED,
        *rounded("bicubic", "5000x4000", "flat", "photo", "portrait", "slim", "two_to_one_less"),
        Known(
            "images.resize_rule.seven_to_six",
            "7:6 is as far from 1:1 as from 4:3, and of two as near the rule takes the larger only "
            "where the picture fills half of it. A difference of floats is smaller by its last bit "
            "for 4:3: thirteen tiles, 3,328 tokens instead of 256. The publisher's own code "
            "computes the same floats.",
            "transformers 5.24.0, get_optimal_tiled_canvas; OpenGVLab/InternVL, "
            "find_closest_aspect_ratio",
        ),
        *(Known(f"model.{each}", _SILENT, _TIED, otherwise="a tied head") for each in _COUNTED),
        Known(
            "model.bytes_gap.lm_head",
            "The head of its own that from_pretrained keeps, and that the config alone does not "
            "show (model.parameters).",
            _TIED,
            otherwise="a tied head",
        ),
        *tower_too("transformers 5.24.0, InternVLVisionAttention"),
        PADDING_COUNTED,
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.pillow_gap.maximum_plus_one": "pictures become tiles of one side: there is no such "
        "size",
        "images.resize_rule.square_3621": "pictures become tiles of one side: no root is rounded",
        "images.resize_rule.one_to_four": "pictures become tiles of one side: no root is rounded",
        "generation.sampling_is_greedy": "The published generation_config.json sets no top_k.",
    },
}
