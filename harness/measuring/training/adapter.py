"""The recipe's LoRA: peft's config, the wrapped model, and an adapter that is not zero."""

from __future__ import annotations

from typing import Any

from harness.measuring.models import canonical_name, of
from harness.recipe.published import REFERENCE, Recipe


def lora_config(recipe: Recipe = REFERENCE, *, dropout: bool = True) -> Any:
    """peft's LoraConfig of the recipe.

    dropout=False sets lora_dropout to 0: the ladder compares arithmetic, not random masks.
    """
    from peft import LoraConfig

    lora = recipe.lora
    return LoraConfig(
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout if dropout else 0.0,
        r=lora.r,
        bias=lora.bias,
        target_modules=list(lora.target_modules),
        task_type=lora.task_type,
    )


def add_lora(
    model: Any, recipe: Recipe = REFERENCE, *, seed: int = 42, dropout: bool = True
) -> Any:
    """The model wrapped by peft with the recipe's LoRA; B is zero, A seeded."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    return get_peft_model(model, lora_config(recipe, dropout=dropout))


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


def adapted_by(model: Any, recipe: Recipe = REFERENCE) -> dict[str, Any]:
    """The Linears that the recipe's targets reach, by name, as peft matches a list of them."""
    import torch

    targets = recipe.lora.target_modules
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in targets
    }


def adapter_size(model: Any, recipe: Recipe = REFERENCE) -> int:
    """Parameters of the recipe's LoRA on a model on the meta device: A and B of every target."""
    reached = adapted_by(model, recipe).values()
    return sum(recipe.lora.r * (int(m.in_features) + int(m.out_features)) for m in reached)
