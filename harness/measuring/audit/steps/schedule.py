"""Learning rates as a training's settings declare them, step by step, from their definitions.

Source: the documentation of transformers' schedules; written from it, not from its code's results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from harness.measuring import _compat

# What transformers takes where `lr_scheduler_kwargs` say nothing.
_CYCLES, _END, _POWER, _TIMESCALE = 0.5, 1e-7, 1.0, 10_000


def total_steps(rows: int, declared: Mapping[str, Any]) -> int:
    """Optimizer steps of a whole training on one process. declared: the Trainer's arguments."""
    most = int(declared.get("max_steps") or -1)
    if most > 0:
        return most
    size = int(declared["per_device_train_batch_size"])
    whole, rest = divmod(rows, size)
    batches = whole + (rest > 0 and not declared.get("dataloader_drop_last"))
    per_epoch = _compat.update_steps(batches, int(declared["gradient_accumulation_steps"]))
    return math.ceil(float(declared["num_train_epochs"]) * per_epoch)


def share(
    kind: str, step: int, warmup: int, total: int, rate: float, settings: Mapping[str, Any]
) -> float | None:
    """The share of the full learning rate at a step (from 0); None of a schedule not known here.

    settings: `lr_scheduler_kwargs`.
    """
    shape = _SHAPES.get(kind)
    if shape is None:
        return None
    if kind == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    return shape(step, warmup, total, rate, settings)


def _progress(step: int, warmup: int, total: int) -> float:
    return (step - warmup) / max(1, total - warmup)


def _linear(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    return max(0.0, 1 - _progress(step, warmup, total))


def _cosine(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    cycles = float(s.get("num_cycles", _CYCLES))
    return max(0.0, 0.5 * (1 + math.cos(2 * math.pi * cycles * _progress(step, warmup, total))))


def _restarts(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    progress = _progress(step, warmup, total)
    if progress >= 1:
        return 0.0
    cycle = (int(s.get("num_cycles", 1)) * progress) % 1
    return max(0.0, 0.5 * (1 + math.cos(math.pi * cycle)))


def _floored(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    least = s.get("min_lr_rate")
    floor = float(s["min_lr"]) / rate if least is None else float(least)
    return max(0.0, _cosine(step, warmup, total, rate, s) * (1 - floor) + floor)


def _polynomial(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    end, power = float(s.get("lr_end", _END)), float(s.get("power", _POWER))
    if step > total:
        return end / rate
    return ((rate - end) * (1 - _progress(step, warmup, total)) ** power + end) / rate


def _root(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    scale = int(s.get("timescale") or warmup or _TIMESCALE)
    return 1 / math.sqrt((step + scale - warmup) / scale)


def _one(step: int, warmup: int, total: int, rate: float, s: Mapping[str, Any]) -> float:
    return 1.0


_Shape = Callable[[int, int, int, float, Mapping[str, Any]], float]
_SHAPES: Mapping[str, _Shape] = {
    "constant": _one,
    "constant_with_warmup": _one,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _restarts,
    "cosine_with_min_lr": _floored,
    "polynomial": _polynomial,
    "inverse_sqrt": _root,
}
