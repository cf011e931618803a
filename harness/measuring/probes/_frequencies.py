"""Rung 8, rotary frequencies of tower and decoder: base^(-i/n), i below n (arXiv 2104.09864)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import parts
from harness.records.typed import Json


def record_frequencies(recorder: Recorder, model: Any) -> None:
    """Of each part its frequencies' base, how far they lie from that base's powers, and their type;
    nothing of a part that keeps none."""
    inside = {id(module) for module in parts(model).tower.modules()}
    kept: dict[str, list[Any]] = {"tower": [], "decoder": []}
    for module in model.modules():
        frequencies = getattr(module, "inv_freq", None)
        if frequencies is not None:
            kept["tower" if id(module) in inside else "decoder"].append(frequencies)
    for part, tensors in kept.items():
        if not tensors:
            continue
        values = [tensor.detach().double().cpu().numpy().ravel() for tensor in tensors]
        recorder.add("rotary_base", odd_one([*map(base_of, values)]), case=part)
        recorder.add("frequency_gap", max(map(gap_of, values)), case=part)
        types: list[Json] = [*sorted({str(t.dtype).removeprefix("torch.") for t in tensors})]
        recorder.add("frequency_dtypes", types, case=part, unit="dtypes")


def base_of(frequencies: Sequence[float]) -> float:
    """The base of which the last frequency, the smallest, is a power."""
    count = len(frequencies)
    return float(frequencies[-1] ** (-count / (count - 1)))


def odd_one(bases: Sequence[float]) -> float:
    """Where every layer keeps frequencies of its own: the base that lies furthest from most."""
    usual = float(np.median(bases))
    return max(bases, key=lambda base: abs(np.log(base / usual)))


def gap_of(frequencies: Sequence[float]) -> float:
    """Largest relative distance from the powers of the base: nothing rounded but to float32."""
    count = len(frequencies)
    powers = base_of(frequencies) ** (-np.arange(count) / count)
    return float(np.abs(np.asarray(frequencies) / powers - 1).max())
