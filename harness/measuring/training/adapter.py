"""The recipe's LoRA: peft's config, the wrapped model, and an adapter that is not zero."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.measuring.models import canonical_name, component, of, parts
from harness.recipe.published import ALL_LINEAR, REFERENCE, Recipe
from harness.records.components import Component

BF16 = 2
# Knuth's, of multiplicative hashing (TAOCP 3, 6.4).
MULTIPLIER = 2654435761


def lora_config(recipe: Recipe = REFERENCE, model: Any = None, *, dropout: bool = True) -> Any:
    """peft's LoraConfig of the recipe.

    model: to be adapted; where peft would refuse a module that the targets name, the Linears that
    they name are listed one by one instead. dropout=False sets lora_dropout to 0: the ladder
    compares arithmetic, not random masks.
    """
    from peft import LoraConfig

    lora = recipe.lora
    several = model is not None and bool(refused(model, recipe))
    return LoraConfig(
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout if dropout else 0.0,
        r=lora.r,
        bias=lora.bias,
        target_modules=sorted(adapted_by(model, recipe)) if several else lora.targets,
        task_type=lora.task_type,
    )


def add_lora(
    model: Any, recipe: Recipe = REFERENCE, *, seed: int = 42, dropout: bool = True
) -> Any:
    """The model wrapped by peft with the recipe's LoRA; B is zero, A seeded."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    return get_peft_model(model, lora_config(recipe, model, dropout=dropout))


def randomise_lora_b(model: Any, *, seed: int, scale: float = 0.02) -> None:
    """Give every LoRA B normal values of that standard deviation, in canonical name order.

    With peft's zero B the gradient of A is exactly zero and half of the backward rung would
    compare zeros.
    """
    import torch

    loader = of(model)
    generator = torch.Generator().manual_seed(seed)
    named = {canonical_name(n, loader): p for n, p in model.named_parameters() if "lora_B" in n}
    for _, parameter in sorted(named.items(), key=lambda item: item[0]):
        values = torch.randn(parameter.shape, generator=generator) * scale
        parameter.data.copy_(values.to(parameter.dtype))


def number_lora(model: Any) -> None:
    """Give every LoRA A and B numbers that an oracle can write down without a model at hand: row i
    and column j of a Linear's A or B are (2 k - 255) / 4096, k the upper eight bits of
    (crc32(`<canonical name>.<A or B>`) + 7919 i + 104729 j + 15485863 i j) 2654435761 mod 2^32."""
    import torch

    loader = of(model)
    for raw, parameter in model.named_parameters():
        name, is_lora, part = canonical_name(raw, loader).partition(".lora_")
        if not is_lora:
            continue
        rows, columns = (torch.arange(size, dtype=torch.int64) for size in parameter.shape)
        start = zlib.crc32(f"{name}.{part[0]}".encode())
        mixed = 7919 * rows[:, None] + 104729 * columns + 15485863 * rows[:, None] * columns
        mixed = (mixed + start) % 2**32
        # The product of two numbers below 2^32 is larger than int64: by halves of one of them.
        low, high = MULTIPLIER % 2**16, MULTIPLIER >> 16
        mixed = (mixed * low + (mixed * high % 2**16) * 2**16) % 2**32
        parameter.data.copy_(((2 * (mixed >> 24) - 255).double() / 4096).to(parameter.dtype))


def adapted_by(model: Any, recipe: Recipe = REFERENCE) -> dict[str, Any]:
    """The Linears that the recipe's targets reach, by name, as peft reads a list of them: a
    module's whole path or the end of it. `all-linear` is every Linear but the output head.

    model: on the meta device or with weights, before peft wraps it.
    """
    import torch

    head = model.get_output_embeddings()
    everything = recipe.lora.target_modules == ALL_LINEAR
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and (module is not head if everything else _is_named(name, recipe))
    }


def refused(model: Any, recipe: Recipe = REFERENCE) -> list[str]:
    """Modules that the recipe's targets name and that are no Linears: peft has no adapter for a
    module of the model's own around one, and then adapts nothing at all."""
    import torch

    if recipe.lora.target_modules == ALL_LINEAR:
        return []
    return [
        name
        for name, module in model.named_modules()
        if _is_named(name, recipe) and not isinstance(module, torch.nn.Linear)
    ]


def _is_named(name: str, recipe: Recipe) -> bool:
    targets = recipe.lora.target_modules
    return any(name == target or name.endswith(f".{target}") for target in targets)


def adapter_size(model: Any, recipe: Recipe = REFERENCE) -> int:
    """Parameters of the recipe's LoRA on a model on the meta device: A and B of every target."""
    return sum(size_by_component(model, recipe).values())


def size_by_component(model: Any, recipe: Recipe = REFERENCE) -> Mapping[Component, int]:
    """The same by what of the model the targets reach; a component without one is left out."""
    loader = of(model)
    sizes: Counter[Component] = Counter()
    for name, linear in adapted_by(model, recipe).items():
        both = int(linear.in_features) + int(linear.out_features)
        sizes[component(f"{name}.weight", loader)] += recipe.lora.r * both
    return sizes


def kept_bytes(model: Any, recipe: Recipe, positions: int) -> tuple[int, ...]:
    """Bytes per decoder layer that the adapters certainly keep for their backward pass.

    positions: samples × tokens. The gradient of B needs what A made of every position, rank wide;
    that of A its own input, which dropout copies for each adapter: without it Linears may share
    one, so nothing is counted. In bfloat16, under autocast. The vision tower's are not counted.
    """
    reached = {id(linear) for linear in adapted_by(model, recipe).values()}
    layers = []
    for layer in parts(model).layers:
        inside = [module for module in layer.modules() if id(module) in reached]
        inputs = sum(int(m.in_features) for m in inside) if recipe.lora.lora_dropout else 0
        layers.append(positions * BF16 * (inputs + recipe.lora.r * len(inside)))
    return tuple(layers)
