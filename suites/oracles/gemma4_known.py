"""What Gemma 4's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .known import (
    IMAGES_AND_TEXTS,
    PADDING_BEFORE,
    converted_by_the_guide,
    otherwise_rounded,
)
from .ladder import Known

_ROUNDED = (
    "the default image processor resizes with torchvision's antialiased bicubic, not with Pillow's"
)
_SIZES = ("photo", "whole_plus_one", "wide", "tall", "line", "2000x1600")
_RULE = "the rule is another one: there is no such size"
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        IMAGES_AND_TEXTS,
        *converted_by_the_guide(),
        *otherwise_rounded(_ROUNDED, *(f"*{size}" for size in _SIZES)),
        Known(
            "model.lora_refused.model",
            "The tower's q_proj and v_proj are modules that clip around a Linear: peft refuses "
            "them (ValueError: Target module Gemma4ClippableLinear is not supported) and with them "
            "the recipe's whole adapter. Name the decoder's Linears in target_modules, as the "
            "harness does to go on.",
            when="other-model",
        ),
        PADDING_BEFORE,
        Known(
            "update.accumulation_gap",
            "The model says accepts_loss_kwargs = False, so transformers' Trainer averages the "
            "micro-batches' means whatever their number of tokens: accumulated steps weigh short "
            "rows more than one large batch does.",
            when="other-model",
            share=0.05,
            spread="float32 sums in another order on another processor",
            detectable="0.05 of the value",
        ),
        Known(
            "interface.call.sft_trainer_peft_config",
            "The recipe's q_proj and v_proj name the tower's Linears that clip, too, and peft has "
            "no adapter for these: SFTTrainer with this peft_config adapts nothing at all. The "
            "harness names the decoder's one by one.",
            "peft 0.21, tuners/lora/model.py, _create_new_module",
            type="ValueError",
            says="Target module Gemma4ClippableLinear",
        ),
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        **dict.fromkeys(
            (
                "images.pillow_gap.5000x4000",
                "images.pillow_gap.maximum_plus_one",
                "images.resize_rule.square_3621",
                "images.resize_rule.one_to_four",
            ),
            _RULE,
        ),
        "backward.tower_ran_backward.checkpointed": "no Linear of the tower is adapted, and its "
        "patches are no embedding that checkpointing would make ask for gradients",
    },
}
