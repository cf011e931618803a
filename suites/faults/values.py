"""Faults of what a loaded model holds, of how an adapter begins, and of what is saved."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from suites.faults import Fault, edited_arguments, edited_result
from suites.faults.model import lora


def loaded_norm_lost() -> AbstractContextManager[None]:
    """The last norm is not the snapshot's: nothing was loaded into it."""
    from harness.measuring.models import parts
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        parts(model).decoder.norm.weight.data.fill_(1.0)
        return model

    return edited_result(loading, "load_model", edit)


def biases_rounded() -> AbstractContextManager[None]:
    """Biases of the tower pass through eight bits."""
    import torch

    from harness.measuring.models import parts
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        for name, parameter in parts(model).tower.named_parameters():
            if name.endswith("bias"):
                parameter.data = parameter.data.to(torch.float8_e4m3fn).to(parameter.dtype)
        return model

    return edited_result(loading, "load_model", edit)


def edited_tensors(part: str, edit: Any) -> AbstractContextManager[None]:
    """Every A or B of a model that gets its LoRA is edited."""

    def edited(model: Any) -> Any:
        for name, parameter in model.named_parameters():
            if f".{part}." in name and not parameter.is_meta:
                edit(parameter.data)
        return model

    return lora(edited)


def factor_of_the_rank_alone() -> AbstractContextManager[None]:
    """An adapter is multiplied by one over its rank: its alpha is lost."""

    def edit(model: Any) -> Any:
        for module in model.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling.update(dict.fromkeys(module.scaling, 1 / 8))
        return model

    return lora(edit)


def absmax_not_added_back() -> AbstractContextManager[None]:
    """The mean that double quantisation takes off the blocks' largest values is not put back."""
    import bitsandbytes.functional as functional

    def edit(args: Any, kwargs: Any) -> Any:
        import copy

        state = copy.copy(args[1])
        state.offset = state.offset * 0
        return (args[0], state, *args[2:]), kwargs

    return edited_arguments(functional, "dequantize_4bit", edit)


FAULTS = (
    Fault("model", "a norm that nothing is loaded into", "model.loaded_strays", loaded_norm_lost),
    *(
        Fault("model", name, f"model.{finds}.model", plant, only=only, slow=True)
        for name, finds, plant, only in (
            ("the tower's biases in eight bits", "loaded_strays", biases_rounded, None),
            (
                "B begins at something",
                "start_of_b",
                lambda: edited_tensors("lora_B", lambda values: values.fill_(0.01)),
                None,
            ),
            (
                "A twice as wide",
                "start_reach",
                lambda: edited_tensors("lora_A", lambda values: values.mul_(2.0)),
                None,
            ),
            (
                "A half as wide",
                "start_spread",
                lambda: edited_tensors("lora_A", lambda values: values.mul_(0.5)),
                None,
            ),
            ("alpha is lost", "lora_scaling", factor_of_the_rank_alone, None),
            ("absmax without its mean", "nf4_gap", absmax_not_added_back, "latest"),
        )
    ),
)
