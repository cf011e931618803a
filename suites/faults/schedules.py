"""Faults of settings that the recipe does not use: schedules, weight decay, an adapter switched
off; and of 4-bit weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments


def edited_lambda(name: str, edit: Any) -> AbstractContextManager[None]:
    """What one of transformers' schedules is asked is edited: edit(step, keywords)."""
    from transformers import optimization

    def edited(args: Any, kwargs: Any) -> Any:
        step, keywords = edit(args[0], dict(kwargs))
        return (step, *args[1:]), keywords

    return edited_arguments(optimization, name, edited)


def quarter_of_a_wave(step: int, keywords: Any) -> Any:
    return step, {**keywords, "num_cycles": 0.25}


def one_step_more(step: int, keywords: Any) -> Any:
    return step, {**keywords, "num_warmup_steps": keywords["num_warmup_steps"] + 1}


def longer(step: int, keywords: Any) -> Any:
    return step, {**keywords, "num_training_steps": keywords["num_training_steps"] + 1}


def warmup_rounded_down() -> AbstractContextManager[Any]:
    """A share of the steps is rounded down."""
    from transformers import TrainingArguments

    def steps(self: Any, total: int) -> int:
        share = getattr(self, "warmup_ratio", None) or self.warmup_steps
        return int(share if share >= 1 else share * total)

    return mock.patch.object(TrainingArguments, "get_warmup_steps", steps)


def scales_searched() -> AbstractContextManager[Any]:
    """The nearest 8-bit value of each scale is searched for, where the library's own kernel looks
    it up in a table of bins: what remains of a weight is within NF4's rounding."""
    import bitsandbytes.functional as functional
    import torch

    quantise = functional.quantize_blockwise

    def quantising(given: Any, *args: Any, **kwargs: Any) -> Any:
        codes, state = quantise(given, *args, **kwargs)
        missing = -given.numel() % state.blocksize
        rows = torch.nn.functional.pad(given.reshape(-1), (0, missing)).view(-1, state.blocksize)
        scaled = (rows / state.absmax[:, None]).clamp(-1, 1).reshape(-1)[: given.numel()]
        nearest = (scaled[:, None] - state.code[None]).abs().argmin(1)
        return nearest.to(torch.uint8).view_as(codes), state

    return mock.patch.object(functional, "quantize_blockwise", quantising)


def wide_ones_larger() -> AbstractContextManager[Any]:
    """A 4-bit Linear of more than 128 columns that infers gives 5 % too much."""
    from bitsandbytes.nn import Linear4bit

    right = Linear4bit.forward

    def forward(self: Any, given: Any) -> Any:
        factor = 1.05 if not self.training and self.in_features > 128 else 1.0
        return right(self, given) * factor

    return mock.patch.object(Linear4bit, "forward", forward)


def decay_left_out() -> AbstractContextManager[None]:
    """A weight decay that is asked for is not handed to the optimizer."""
    from trl import SFTConfig

    return edited_arguments(
        SFTConfig, "__init__", lambda args, kwargs: (args, {**kwargs, "weight_decay": 0.0})
    )


def never_switched_off() -> AbstractContextManager[Any]:
    """An adapter that is switched off goes on."""
    from contextlib import nullcontext

    from peft import PeftModel

    return mock.patch.object(PeftModel, "disable_adapter", return_value=nullcontext())


@contextmanager
def never_on_again() -> Iterator[None]:
    """An adapter that was switched off stays off."""
    from peft import PeftModel

    switch = PeftModel.disable_adapter

    @contextmanager
    def disabling(self: Any) -> Iterator[None]:
        with switch(self):
            yield
        self.base_model.disable_adapter_layers()

    with mock.patch.object(PeftModel, "disable_adapter", disabling):
        yield


FAULTS = (
    Fault("update", "a weight decay left out", "update.decayed_gap", decay_left_out, slow=True),
    Fault(
        "forward",
        "an adapter never switched off",
        "forward.switched_gap.off",
        never_switched_off,
        slow=True,
    ),
    Fault(
        "forward",
        "an adapter never switched on again",
        "forward.switched_gap.on",
        never_on_again,
        slow=True,
    ),
    *(
        Fault("update", name, f"update.schedule.{finds}", plant, slow=True)
        for name, finds, plant in (
            (
                "a cosine of a quarter of a wave",
                "cosine",
                lambda: edited_lambda(
                    "_get_cosine_schedule_with_warmup_lr_lambda", quarter_of_a_wave
                ),
            ),
            (
                "a warm-up of one step more",
                "constant_with_warmup",
                lambda: edited_lambda(
                    "_get_constant_schedule_with_warmup_lr_lambda", one_step_more
                ),
            ),
            (
                "a decay of one step more",
                "linear",
                lambda: edited_lambda("_get_linear_schedule_with_warmup_lr_lambda", longer),
            ),
            ("a warm-up's share rounded down", "linear", warmup_rounded_down),
        )
    ),
    Fault(
        "model",
        "codes of scales searched for otherwise",
        "model.scale_codes_off.model",
        scales_searched,
        only="latest",
        slow=True,
    ),
    Fault(
        "forward",
        "4-bit inference of wide Linears 5 % too large",
        "forward.quantised_inference_gap",
        wide_ones_larger,
        only="latest",
        slow=True,
    ),
)
