"""What a step's products and attention take at the rates measured of each alone, and what the step
takes in a process alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

CASE, ALONE = "kernels", "step_alone"


def floor(raw: Mapping[str, Any]) -> dict[str, float]:
    """Seconds a step by part: how often a kernel runs times its median alone."""
    return {
        part: sum(count * raw["milliseconds"][name] for name, count in kernels.items()) / 1000
        for part, kernels in raw["times_a_step"].items()
    }


def sections(
    records: Mapping[str, Mapping[str, Any]], tokens: int, samples: int, mfu: float, seconds: float
) -> list[str]:
    """The floor beside the fastest step of a contest of as many tokens and samples a step: mfu and
    seconds are its own."""
    lines = []
    for raw in records.values():
        if raw["case"] != CASE or (raw["tokens"], raw["samples"]) != (tokens, samples):
            continue
        parts = floor(raw)
        least = sum(parts.values())
        reachable = mfu < raw["wanted_mfu"] <= mfu * seconds / least
        short = f": {raw['wanted_mfu']} is not shown to be out of reach" if reachable else ""
        named = ", ".join(f"{part} {value:.2f} s" for part, value in parts.items())
        lines.append(
            f"- Roofline of the fastest with the tower run: {named}, each kernel at the rate "
            f"measured of it alone, together {least:.2f} s and MFU {mfu * seconds / least:.2f}; "
            f"the step takes {seconds:.2f} s. The rest is element-wise kernels, the loss, copies, "
            f"gaps and lower clocks{short}."
        )
    return lines


def paces(raw: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """By way: median seconds of a step, MFU, peak GB; the first step of a block is left out."""
    by_way = {}
    for way, blocks in raw["blocks"].items():
        middle = statistics.median(s for block in blocks for s in block["seconds"][1:])
        mfu = raw["useful_flops"] / middle / raw["matmul_rate"]
        by_way[way] = middle, mfu, max(block["peak_gb"] for block in blocks)
    return by_way


def alone(raw: Mapping[str, Any], wanted: float) -> str:
    """A step's time in a process of its own, where it goes, and what the card sustains."""
    samples = raw["batch"]["samples"]
    steps = "; ".join(
        f"`{way}` {seconds:.2f} s, {samples / seconds:.1f} samples/s, {peak:.0f} GB, MFU {mfu:.3f}"
        for way, (seconds, mfu, peak) in paces(raw).items()
    )
    best = max(mfu for _, mfu, _ in paces(raw).values())
    met = "reached" if best >= wanted else "**not reached**"
    busy = "; ".join(
        f"`{way}` {one['busy_seconds'] / one['wall_seconds']:.0%} of the step, "
        f"{one['kernels']:,} kernels"
        for way, one in raw["profiles"].items()
    )
    rates = [product["tflops"] for product in raw["sustained"]]
    watts = statistics.median(product["mean_watts"] for product in raw["sustained"])
    tried = "; ".join(
        f"{one['what']} {statistics.median(one['seconds'][1:]):.2f} s" for one in raw["tried"]
    )
    return "\n".join(
        [
            f"### A step alone: {raw['tokens']} tokens, {samples} samples",
            "",
            f"- Measured {raw['created'][:10]}, commit {raw['commit']}, one process on the card, "
            f"tower run in every step, the same batches and code as the sides in turn, their "
            f"losses not held against the truth here: {steps} (wanted {wanted}: {met}).",
            f"- The card is busy {busy}. Its products, repeated for two seconds, run at "
            f"{min(rates):.0f}–{max(rates):.0f} TFLOP/s and {watts:.0f} W, where a short burst, "
            f"which MFU is a share of, gave {raw['matmul_rate'] / 1e12:.0f}.",
            f"- Tried and no faster: {tried}.",
        ]
    )
