"""What a step's batch holds, and the work that it cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring.instruments import footprint
from harness.recipe.published import IGNORE_INDEX


@dataclass(frozen=True)
class Lengths:
    """What one batch holds. tokens: without padding. trained: labels that count after the
    shift by one. patches: per picture, before merging."""

    batch: int
    length: int
    tokens: int
    trained: int
    patches: tuple[int, ...]


def lengths_of(batch: dict[str, Any]) -> Lengths:
    """Read the lengths off a collated batch."""
    rows, length = batch["input_ids"].shape
    return Lengths(
        int(rows),
        int(length),
        int(batch["attention_mask"].sum()),
        int((batch["labels"][:, 1:] != IGNORE_INDEX).sum()),
        tuple(int(n) for n in batch["image_grid_thw"].prod(-1)),
    )


def vision_flops(model: Any, patches: Sequence[int]) -> int:
    """Vision tower forward, every picture attending to itself: from the model's own shapes."""
    merge = 4
    total, weights, merger, embed, depth, width = sum(patches), 0, 0, 0, 0, 0
    for name, parameter in model.named_parameters():
        part = footprint.component(name)
        if not name.endswith("weight") or parameter.dim() < 2:
            continue
        count = int(parameter.numel())
        if part == "patch_embed":
            embed, width = count, int(parameter.shape[0])
        elif part == "merger":
            merger += count
        elif part == "vision":
            weights += count
            depth += ".qkv." in name
    attended = 4 * sum(n * n for n in patches) * width * depth
    return 2 * total * (weights + embed) + 2 * (total // merge) * merger + attended


def useful_flops(model: Any, lengths: Lengths) -> int:
    """Work the step cannot do without: forward and input gradient of every frozen Linear on true
    tokens, the head where there is a label, the vision tower forward (limits: 4 P a token)."""
    sizes = {
        footprint.component(name): 0 for name, _ in model.named_parameters() if "lora_" not in name
    }
    for name, parameter in model.named_parameters():
        if "lora_" not in name and name.endswith("weight") and parameter.dim() == 2:
            sizes[footprint.component(name)] += int(parameter.numel())
    text = 4 * sizes["language"] * lengths.tokens + 4 * sizes["lm_head"] * lengths.trained
    return text + vision_flops(model, lengths.patches)
