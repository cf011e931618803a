"""Tensors of one side against the truth's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records.steps import LOW, Alike


def alike(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Alike:
    """LoRA tensors (any float dtype, by canonical name) against the truth's, in float64.

    A tensor that one side lacks counts as zero. Raises ValueError where the truth holds none.
    """
    import torch

    smallest: dict[str, tuple[float, str, float]] = {}
    untrained: list[str] = []
    low: dict[str, float] = {}
    for part in ("lora_A", "lora_B"):
        worst, worst_name = 2.0, ""
        dot = square = square_theirs = 0.0
        names = sorted(n for n in theirs if part in n)
        if not names:
            raise ValueError(f"the truth holds no tensor of {part}")
        for name in names:
            wanted = theirs[name].double().flatten()
            given = mine.get(name)
            given = torch.zeros_like(wanted) if given is None else given.double().flatten()
            a, b, ab = float(given @ given), float(wanted @ wanted), float(given @ wanted)
            dot, square, square_theirs = dot + ab, square + a, square_theirs + b
            if a == 0 and b > 0:
                untrained.append(name)
            cosine = cosine_of(ab, a, b)
            if cosine < LOW:
                low[name] = cosine
            if cosine < worst:
                worst, worst_name = cosine, name
        smallest[part] = worst, worst_name, cosine_of(dot, square, square_theirs)
    (a, worst_a, whole_a), (b, worst_b, whole_b) = smallest["lora_A"], smallest["lora_B"]
    return Alike(a, b, worst_a, worst_b, whole_a, whole_b, tuple(untrained), low)


def cosine_of(dot: float, square: float, other: float) -> float:
    """From the three products; two zero vectors are alike, one alone is not."""
    if square == 0 or other == 0:
        return 1.0 if square == other else 0.0
    return dot / (square * other) ** 0.5
