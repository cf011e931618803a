"""Truths of rungs 8 and 9 about 4-bit weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.judging.goldens.golden import Band, BandKind, Golden


def below(limit: float, reason: str, detectable: str) -> Band:
    """An absolute band around zero."""
    return Band(BandKind.ABSOLUTE, limit, reason, detectable)


# Logits of magnitude up to 30 through four layers: 30 × 2⁻²³ × 8 roundings ≈ 3e-5.
LOGITS = below(1e-4, "float32: logits of 30 through four layers", "any change of an input")


def four_bit_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 8."""
    why = "Linear4bit computes with the weights that NF4 gives, dequantised"
    for metric in ("quantised_gap", "quantised_inference_gap"):
        yield truth("forward", metric, {"": 0.0}, "arithmetic", why, LOGITS)
    why = "a 4-bit Linear gives what its dequantised weight gives"
    band = below(1e-5, "float32 sums over 128 columns", "any rounding to 16 bits")
    ways = dict.fromkeys(("training", "many", "one"), 0.0)
    yield truth("forward", "four_bit_gap", ways, "arithmetic", why, band)
    wide = "input, weight and output each rounded to bfloat16, 2⁻⁹ of a norm, where a CPU has units"
    band = below(0.01, wide, "a weight off by 1 %")
    infers = {"inferring": 0.0}
    yield truth("forward", "four_bit_inference_gap", infers, "arithmetic", why, band)


def repacked_truth(truth: Callable[..., Golden]) -> Golden:
    """Rung 8, the stand-in that infers as bitsandbytes has it: random weights make more of each
    rounding."""
    why = "whatever a 4-bit model is repacked for, it infers with the weights that NF4 gives"
    wide = "input, weight and output of a Linear each rounded to bfloat16, and no more by the end"
    band = below(3 * 2.0**-9, wide, "Linears of one shape off by 2 %")
    return truth(
        "forward", "repacked_inference_gap", {"": 0.0}, "arithmetic", why, band, "stand-in"
    )


def four_bit_gradient_truth(truth: Callable[..., Golden]) -> Golden:
    """Rung 9."""
    why = "a 4-bit Linear's input has the gradient that the dequantised weight gives"
    band = below(1e-5, "float32 sums over 96 rows", "any rounding to 16 bits")
    return truth("backward", "four_bit_gap", {"": 0.0}, "arithmetic", why, band)
