"""What is planted in a loaded Qwen3.5, in parts that no number of its config turns off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .planted import set_to


def sees_itself_alone(model: Any) -> None:
    """The convolution's steps but the last are nothing."""
    for name, parameter in model.named_parameters():
        if name.endswith("conv1d.weight"):
            parameter.data[..., :-1] = 0.0


def sees_what_comes(model: Any) -> None:
    """The convolution's steps in the other order."""
    for name, parameter in model.named_parameters():
        if name.endswith("conv1d.weight"):
            parameter.data = parameter.data.flip(-1)


def padding_enters(model: Any) -> None:
    """No delta network is told which tokens are padding."""

    def unmasked(module: Any, args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "attention_mask": None}

    for layer in model.model.language_model.layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.register_forward_pre_hook(unmasked, with_kwargs=True)


def gives(ending: str, value: float) -> Callable[[Any], None]:
    """Every module whose path ends so gives that number."""

    def put(model: Any) -> None:
        for path, module in model.named_modules():
            if path.endswith(ending):
                module.register_forward_hook(lambda _, args, out: out * 0 + value)

    return put


PLANTED: Mapping[str, Callable[[Any], None]] = {
    # What stays of a state is e to the minus e to the so many.
    "no state is carried": set_to("A_log", 20.0),
    "a state never fades": set_to("A_log", -20.0),
    "states fade at one pace": gives("in_proj_a", 0.0),
    "values enter at one pace": gives("in_proj_b", 0.0),
    "states are read without a gate": gives("in_proj_z", 1.0),
    "the convolution sees one token": sees_itself_alone,
    "the convolution sees backwards": sees_what_comes,
    "padding enters the states": padding_enters,
    "norms of queries left out": set_to("q_norm.weight", 0.0),
    "norms of keys left out": set_to("k_norm.weight", 0.0),
    "learned positions of patches left out": set_to("pos_embed.weight", 0.0),
}
