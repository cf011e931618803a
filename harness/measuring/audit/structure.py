"""What a model under audit is made of: components, layers, Linears, adapters, 4-bit weights.

By the family's names where there is one, by the library's own conventions elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.measuring import _compat
from harness.measuring.instruments.footprint import state_tensors
from harness.measuring.models import Family, canonical_name
from harness.measuring.models._any import component_of, decoder_path
from harness.records.components import Component

# Components that see pictures; the connector leads from there into the decoder and is none.
SEES = (Component.TOWER, Component.PATCH_EMBEDDING)
# What peft puts beside the weights that it wraps.
_ROWS, _ROW_DELTA = "token_adapter", "trainable_tokens_delta"
_ORIGINAL, _SAVED, _BASE = "original_module", "modules_to_save", "base_layer"


@dataclass(frozen=True)
class Structure:
    """model: what trains, peft's wrapper included. core: the transformers model inside it, whose
    names are the ones used here."""

    model: Any
    core: Any
    family: Family | None

    def component(self, name: str) -> Component:
        """What a parameter or module of the core belongs to."""
        if self.family is not None:
            return self.family.component(canonical_name(name, self.family))
        return component_of(name, self.core)

    @cached_property
    def decoder(self) -> tuple[str, Any]:
        """(path, module) of what takes embeddings and gives hidden states."""
        if self.family is not None:
            module = self.family.parts(self.core).decoder
            return self.path(module), module
        path = decoder_path(self.core)
        return path, self.core.get_submodule(path)

    @cached_property
    def layers(self) -> list[tuple[str, Any]]:
        """(path, module) of the decoder's layers, in order."""
        path, decoder = self.decoder
        return [(f"{path}.layers.{i}".lstrip("."), m) for i, m in enumerate(decoder.layers)]

    def path(self, module: Any) -> str:
        """The path of a module of the core."""
        return next(name for name, other in self.core.named_modules() if other is module)

    def linears(self) -> Iterator[tuple[str, Any]]:
        """(path, module) of every Linear of the model itself: an adapter's own and copies that
        train beside the original left out; an adapted one under the path that it had before."""
        import torch

        for path, module in self.core.named_modules():
            if isinstance(module, torch.nn.Linear) and not is_peft_own(path):
                yield without_wrapper(path), module

    @cached_property
    def adapted(self) -> dict[str, Any]:
        """peft's layer by the path of the module that it adapts, with an active adapter on it."""
        layers = {}
        for path, module in self.core.named_modules():
            ranks = getattr(module, "r", None)
            active = getattr(module, "active_adapters", ())
            if hasattr(module, _BASE) and isinstance(ranks, dict) and set(ranks) & set(active):
                layers[path] = module
        return layers

    @cached_property
    def configs(self) -> dict[str, Any]:
        """peft's config by adapter; empty for a model without."""
        return dict(getattr(self.model, "peft_config", None) or {})


def is_peft_own(path: str) -> bool:
    """Whether a module or parameter was put there by peft, an adapter's tensors or a copy."""
    parts = path.split(".")
    return _SAVED in parts or any(p.startswith(("lora_", "trainable_tokens_")) for p in parts)


def without_wrapper(path: str) -> str:
    """A path without what peft's wrappers put into it."""
    return ".".join(p for p in path.split(".") if p not in {_BASE, _ORIGINAL})


def active(module: Any) -> Any:
    """The module that really computes: of peft's wrappers the copy that trains, or what they
    wrap; of one that replaces single rows what it replaces them in."""
    saved = getattr(module, _SAVED, None)
    if saved is not None and len(saved):
        names = [name for name in _compat.active_adapters(module) if name in saved]
        return saved[names[0]] if names else active(module.original_module)
    inside = getattr(module, _BASE, None)
    if hasattr(module, _ROWS):
        inside = module.original_module
    return module if inside is None else active(inside)


def single_rows(module: Any) -> set[int]:
    """The addresses of the rows that peft trains of an embedding or head in place of its own."""
    named = module.named_parameters()
    return {p.data_ptr() for name, p in named if _ROW_DELTA in name.split(".")}


def elements(parameter: Any) -> int:
    """Elements of a parameter; of a 4-bit one those that it stands for."""
    state = getattr(parameter, "quant_state", None)
    return int(math.prod(state.shape)) if state is not None else int(parameter.numel())


def stored(parameter: Any) -> int:
    """Bytes of a parameter, a 4-bit one's scales and tables included."""
    state = getattr(parameter, "quant_state", None)
    tensors = [parameter, *(state_tensors(state) if state is not None else ())]
    return sum(int(t.numel()) * int(t.element_size()) for t in tensors)


def dtype(parameter: Any) -> str:
    """`float32`, `bfloat16`, …; of a 4-bit one `nf4` or `fp4`."""
    state = getattr(parameter, "quant_state", None)
    return str(state.quant_type if state is not None else parameter.dtype).removeprefix("torch.")


def is_four_bit(module: Any) -> bool:
    """Whether a Linear's weight is held in 4 bits."""
    return getattr(module.weight, "quant_state", None) is not None


def ties_head(model: Any) -> bool:
    """Whether the library takes a model's head for its embedding: where the config says so, but
    for a checkpoint that holds two that differ, of which transformers says so since 5.

    Since then a config that says nothing may say so too: some families' default is a tied one.
    """
    if not getattr(model.config, "tie_word_embeddings", False):
        return False
    tied = getattr(model, "all_tied_weights_keys", None)
    if tied is None:
        return True
    head = model.get_output_embeddings()
    paths = (name for name, module in model.named_modules() if module is head)
    return any(f"{path}.weight" in {*tied, *tied.values()} for path in paths)
