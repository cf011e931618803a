"""What a step's products and attention take at the rates measured of each alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CASE = "kernels"


def floor(raw: Mapping[str, Any]) -> dict[str, float]:
    """Seconds a step by part: how often a kernel runs times its median alone."""
    return {
        part: sum(count * raw["milliseconds"][name] for name, count in kernels.items()) / 1000
        for part, kernels in raw["times_a_step"].items()
    }


def sections(records: Mapping[str, Mapping[str, Any]], mfu: float, seconds: float) -> list[str]:
    """The floor beside the fastest step of a contest: mfu and seconds are its own."""
    lines = []
    for raw in records.values():
        if raw["case"] != CASE or not seconds:
            continue
        parts = floor(raw)
        least = sum(parts.values())
        named = ", ".join(f"{part} {value:.2f} s" for part, value in parts.items())
        lines.append(
            f"- Roofline of the fastest with the tower run: {named}, each kernel at the rate "
            f"measured of it alone, together {least:.2f} s and MFU {mfu * seconds / least:.2f}; "
            f"the step takes {seconds:.2f} s. The rest is element-wise kernels, the loss, copies, "
            f"gaps and lower clocks: {raw['wanted_mfu']} is not shown to be out of reach."
        )
    return lines
