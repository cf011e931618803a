"""LoRA (arXiv 2106.09685) of numbers that anyone can write down, for a loss worked out with it.

A weight of m x n becomes W + (alpha / r) B A, with B of m x r and A of r x n. Row i and column j of
a matrix hold (2 k - 255) / 4096 with

    k = ((crc32(`<Linear's name>.<A or B>`) + 7919 i + 104729 j + 15485863 i j) 2654435761
         mod 2^32) >> 24

so that each matrix has its own numbers, none is zero, and bfloat16 holds every one exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Adapter:
    """LoRA's settings. targets: last names of the Linears that it reaches. scaling: alpha / r."""

    targets: tuple[str, ...]
    rank: int
    scaling: float


def numbers(name: str, part: str, rows: int, columns: int) -> Any:
    """float64 (rows, columns) of a Linear's `A` or `B`."""
    i, j = np.arange(rows, dtype=object)[:, None], np.arange(columns, dtype=object)[None]
    start = zlib.crc32(f"{name}.{part}".encode())
    mixed = (start + 7919 * i + 104729 * j + 15485863 * i * j) * 2654435761 % 2**32
    return (2 * (mixed // 2**24) - 255).astype(np.float64) / 4096


def merged(weights: Mapping[str, Any], adapter: Adapter) -> dict[str, Any]:
    """The weights by their checkpoint's names, with what the adapter adds to each Linear."""
    changed = dict(weights)
    for key, weight in weights.items():
        name, _, kind = key.rpartition(".")
        if kind == "weight" and weight.ndim == 2 and name.rpartition(".")[2] in adapter.targets:
            fan_out, fan_in = weight.shape
            a = numbers(name, "A", adapter.rank, fan_in)
            b = numbers(name, "B", fan_out, adapter.rank)
            changed[key] = weight + adapter.scaling * (b @ a)
    return changed
