"""What Qwen3-VL's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .known import (
    ONE_TO_49,
    a_level_apart,
    by_micro_batch,
    converted_larger,
    otherwise_rounded,
    padded_gradient,
    padded_gradient_of_the_stand_in,
    side_gap,
)
from .ladder import Known

_BICUBIC = (
    "the default image processor resizes with torchvision's antialiased bicubic, not with Pillow's"
)
ROUNDED = f"{_BICUBIC}: one level in one value of ten thousand"
_TINY = "other-model"
_PHOTO = a_level_apart("images.pillow_gap.photo", _BICUBIC)
_SHARE = " (0.36 of eager's norm)"
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        *converted_larger(),
        *otherwise_rounded(ROUNDED, "31"),
        *otherwise_rounded(ROUNDED, "33", "half_even", "fetched_photo", when=_TINY),
        ONE_TO_49,
        by_micro_batch("Qwen3VLForConditionalGeneration"),
        # Of the stand-in a level, of the tiny model's size all that Pillow 13 rounds otherwise.
        replace(_PHOTO, when=_TINY),
        replace(_PHOTO, when="stand-in"),
        Known("images.levels.photo", _BICUBIC, when="stand-in", sized=False),
        *side_gap(),
        padded_gradient_of_the_stand_in(" (0.89 of eager's norm)"),
        padded_gradient(f"cpu+{_TINY}", _SHARE),
        padded_gradient(f"cuda+{_TINY}", _SHARE),
    ),
}
# Of the size rule and of the tower.
RULE: Mapping[str, str] = {
    "images.pillow_gap.maximum_plus_one": "That picture is cut by its height alone and both "
    "filters agree.",
    "images.resize_rule.square_3621": "Of a rule with another factor and other limits.",
    "images.resize_rule.one_to_four": "The most pixels are a power of two here, whose square root "
    "is exact.",
    "backward.tower_ran_backward.checkpointed": "This tower names no input embedding, so that "
    "nothing is hooked and the frozen tower stays out of the backward pass.",
}
_COUNTED = (
    "The operations of its stand-in are worked out by nobody, so there is nothing that they could "
    "be more than."
)
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        **RULE,
        "cost.flops.step_checkpointed.one": _COUNTED,
        "cost.flops.step_checkpointed.four": _COUNTED,
    },
}
