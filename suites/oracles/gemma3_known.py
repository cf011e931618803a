"""What Gemma 3's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .known import (
    IMAGES_AND_TEXTS,
    PADDING_BEFORE,
    a_level_apart,
    converted_by_the_guide,
    otherwise_rounded,
    padded_gradient,
    padded_gradient_of_the_stand_in,
    side_gap,
)
from .ladder import Known

_ROUNDED = (
    "the default image processor resizes with torchvision's antialiased bilinear filter, not with "
    "Pillow's"
)
_PASSES = (
    "Pillow resizes first the one direction, torchvision the other: the rounding between the two "
    "passes differs by a level"
)
_STRAYS = (
    "The tower's attention has Linears called q_proj and v_proj too, so the recipe's targets adapt "
    "it: it trains, is saved with the adapter and keeps activations for a backward pass. Name the "
    "decoder's in target_modules, or exclude the tower."
)
_ASKED = (
    "q_proj and v_proj of the tower are adapted too (model.lora_strays): its gradients are asked "
    "for"
)
_SQUARE = "every picture is resized to one square: "
_COUNTED = (
    "The operations of its stand-in are worked out by nobody, so there is nothing that they could "
    "be more than."
)
_TINY, _TRAINED = "other-model", "stand-in"
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        IMAGES_AND_TEXTS,
        Known(
            "ids.begin_tokens",
            "The template writes the begin token and the tokenizer adds one (add_bos_token): the "
            "published call, which renders first and encodes then, begins every row with two. The "
            "harness encodes without special tokens what begins with one already.",
        ),
        *converted_by_the_guide(),
        *otherwise_rounded(_ROUNDED, "photo", "fetched_photo", "895x897", "fetched_895x897"),
        *otherwise_rounded(_ROUNDED, "896", "fetched_896", when=_TINY),
        *(a_level_apart(f"images.pillow_gap.{c}", _PASSES) for c in ("tall", "fetched_tall")),
        *(
            replace(a_level_apart(f"images.pillow_gap.{c}", _PASSES), when=_TRAINED)
            for c in ("wide", "fetched_wide")
        ),
        *(
            Known(f"images.levels.{c}", _ROUNDED, when=_TRAINED, sized=False)
            for c in ("wide", "fetched_wide", "tall", "fetched_tall")
        ),
        Known("model.lora_strays.model", _STRAYS, when=_TINY),
        Known("model.lora_strays.model", _STRAYS, when=_TRAINED),
        PADDING_BEFORE,
        Known("backward.tower_ran_backward.*", _ASKED),
        *side_gap(),
        padded_gradient_of_the_stand_in(" (0.42 of eager's norm)"),
        padded_gradient(f"cpu+{_TINY}"),
        padded_gradient("cuda"),
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.pillow_gap.5000x4000": f"{_SQUARE}there is no such size",
        "images.pillow_gap.maximum_plus_one": f"{_SQUARE}there is no such size",
        "images.resize_rule.square_3621": f"{_SQUARE}no root is rounded",
        "images.resize_rule.one_to_four": f"{_SQUARE}no root is rounded",
        "cost.flops.step_checkpointed.one": _COUNTED,
        "cost.flops.step_checkpointed.four": _COUNTED,
    },
}
