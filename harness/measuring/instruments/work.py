"""What a step's batch holds, and the work that it cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring._compat import core
from harness.measuring.models import Family, component, of
from harness.recipe.published import IGNORE_INDEX
from harness.records.components import Component


@dataclass(frozen=True)
class Lengths:
    """What one batch holds. tokens: without padding. trained: labels that count after the
    shift by one. patches: per picture, before merging."""

    batch: int
    length: int
    tokens: int
    trained: int
    patches: tuple[int, ...]


def lengths_of(batch: dict[str, Any], loader: Family) -> Lengths:
    """Read the lengths off a collated batch."""
    rows, length = batch["input_ids"].shape
    return Lengths(
        int(rows),
        int(length),
        int(batch["attention_mask"].sum()),
        int((batch["labels"][:, 1:] != IGNORE_INDEX).sum()),
        loader.patches(batch),
    )


def matrices(model: Any) -> dict[Component, int]:
    """Elements of the frozen matrices by component, unpacked; norms and biases left out.

    A head that is tied to the embedding counts as a head: it multiplies all the same.
    """
    loader, sizes = of(model), dict.fromkeys(Component, 0)
    for name, parameter in model.named_parameters():
        if "lora_" not in name and name.endswith("weight") and parameter.dim() >= 2:
            sizes[component(name, loader)] += int(parameter.numel())
    sizes[Component.HEAD] = sizes[Component.HEAD] or sizes[Component.EMBEDDING]
    return sizes


def vision_flops(model: Any, patches: Sequence[int]) -> int:
    """Vision tower forward, every picture attending to itself: by the family's formula."""
    return of(model).vision_flops(core(model).config, matrices(model), patches)


def useful_flops(model: Any, lengths: Lengths) -> int:
    """Work the step cannot do without: forward and input gradient of every frozen Linear on true
    tokens, the head where there is a label, the vision tower forward (limits: 4 P a token)."""
    sizes = matrices(model)
    language, head = sizes[Component.LANGUAGE], sizes[Component.HEAD]
    text = 4 * language * lengths.tokens + 4 * head * lengths.trained
    return text + vision_flops(model, lengths.patches)
