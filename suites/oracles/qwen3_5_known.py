"""What Qwen3.5's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .known import a_level_apart, by_micro_batch
from .ladder import Known

_CONVERTED = "qwen_vl_utils converts with Pillow's convert('RGB'): "
_ITSELF = "the harness decodes pictures itself"
_LARGER = f"{_ITSELF}. Small pictures are made larger here, with another largest gap."
_UNDER = f"{_CONVERTED}transparency turns into whatever colour lies under it; {_LARGER}"
_ROUNDED = (
    "the default image processor resizes with torchvision's antialiased bicubic, not with "
    "Pillow's: one level in one value of ten thousand"
)
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        a_level_apart("images.decoder_gap.LA", _UNDER),
        a_level_apart("images.decoder_gap.PA", _UNDER),
        a_level_apart(
            "images.decoder_gap.I;16",
            f"{_CONVERTED}16-bit greys are clipped to white; {_ITSELF}",
        ),
        *(
            known
            for case in ("31", "33", "half_even", "fetched_photo")
            for known in (
                Known(f"images.levels.{case}", _ROUNDED, sized=False),
                a_level_apart(f"images.pillow_gap.{case}", _ROUNDED),
            )
        ),
        Known(
            "images.resize_rule.one_to_49",
            "Scaling to the fewest pixels gives exactly whole multiples of 32 here; smart_resize "
            "multiplies by a float square root, whose last bit adds a column of image tokens (57 "
            "instead of 56).",
        ),
        by_micro_batch("Qwen3_5ForConditionalGeneration"),
        Known(
            "model.lora_missed.model",
            "Three of four layers are gated delta networks, which have no q_proj and no v_proj: "
            "the recipe's targets adapt the fourth alone. Which layers those are is a truth of its "
            "own (lora_modules); name in_proj_qkv, in_proj_z and out_proj to reach the others.",
            otherwise="layers without these names",
        ),
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.levels.photo": "torchvision and Pillow 10.4 agree on this picture at this size: "
        "one side grows, the other shrinks.",
        "images.pillow_gap.maximum_plus_one": "That picture is cut by its height alone and both "
        "filters agree.",
        "images.resize_rule.square_3621": "Of a rule with another factor and other limits.",
        "images.resize_rule.one_to_four": "The most pixels are a power of two here, whose square "
        "root is exact.",
        "backward.tower_ran_backward.checkpointed": "This tower names no input embedding, so that "
        "nothing is hooked and the frozen tower stays out of the backward pass.",
    },
}
