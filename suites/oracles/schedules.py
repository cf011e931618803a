"""Learning rates of schedules by their formulas, as shares of the whole rate.

Sources: SGDR (arXiv 1608.03983) for the cosine, without restarts or with a single cycle; "Scaling
Vision Transformers" (arXiv 2106.04560) for the inverse square root; BERT's own polynomial decay
(google-research/bert, optimization.py), to 1e-7. All rise in a straight line from nothing over the
warm-up, which is a share of the steps, rounded up; `constant` has none.
"""

from __future__ import annotations

import math

LOWEST = 1e-7


def shares(name: str, steps: int, warmup: float) -> list[float]:
    """Of each of the steps, the first one first. warmup: a share of them."""
    rising = 0 if name == "constant" else math.ceil(warmup * steps)
    return [
        step / rising if step < rising else _after(name, step, steps, rising)
        for step in range(steps)
    ]


def _after(name: str, step: int, steps: int, rising: int) -> float:
    """Of a step that comes after the warm-up."""
    left = (steps - step) / (steps - rising)
    if name in {"constant", "constant_with_warmup"}:
        return 1.0
    if name == "linear":
        return left
    if name == "polynomial":
        return (1 - LOWEST) * left + LOWEST
    if name in {"cosine", "cosine_with_restarts"}:
        return math.cos(math.pi / 2 * (1 - left)) ** 2
    if name == "inverse_sqrt":
        return math.sqrt(rising / step)
    raise ValueError(f"{name} is no schedule that is worked out here")
