"""Positions of one axis: tokens are counted, pictures' like any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def position_ids(model: Any, batch: Mapping[str, Any]) -> Any:
    """int64 (batch, sequence): the library's rule in training counts padding too."""
    import torch

    rows, length = batch["input_ids"].shape
    return torch.arange(length, device=batch["input_ids"].device).expand(rows, length)


def defined_positions(config: Any, batch: Mapping[str, Any]) -> list[list[list[int]]]:
    """One after the other, pictures' tokens like any."""
    mask, rows = batch.get("attention_mask"), batch["input_ids"]
    counts = [rows.shape[1]] * len(rows) if mask is None else mask.sum(-1).tolist()
    return [[list(range(int(count)))] for count in counts]
