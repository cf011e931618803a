"""What 4-bit weights can do, by release."""

from __future__ import annotations

from typing import Any, Literal

from packaging.version import Version

import harness.measuring._compat.releases as releases

# How 4-bit values are rounded: bitsandbytes on CUDA, on a CPU, or to the nearest table entry.
Kernels = Literal["cuda", "cpu", "nearest"]


def quantises_on_cpu() -> bool:
    """Whether from_pretrained with a BitsAndBytesConfig gives Linear4bit on a CPU.

    bitsandbytes has CPU kernels for 4 bit since 0.46; transformers asks for Intel's extension
    there until 4.52 and takes them as they are since 4.53.
    """
    return releases.installed("bitsandbytes") >= Version("0.46.0") and (
        releases.installed("transformers") >= Version("4.53.0")
    )


def lacks_sharded_four_bit() -> str | None:
    """What keeps FSDP2 from sharding bitsandbytes' 4-bit weights here; None where it can.

    accelerate knows FSDP2 since 1.6 and lets 4-bit weights keep their dtype there since 1.15;
    nothing older was measured.
    """
    release = releases.installed("accelerate")
    if release >= Version("1.15.0"):
        return None
    return f"needs accelerate 1.15.0 or newer, here is {release}"


def keep_4_bit_trainable(model: Any) -> None:
    """On a CPU with bfloat16 units a Linear4bit repacks its weight in place when it first infers
    (bitsandbytes' pull request 1804), and from then on gives its input no gradient, in training
    too: no such module of the model will."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


# Rows that bitsandbytes repacks at once (functional.py, _convert_weight_packed_for_cpu).
REPACKED_ROWS = 32


def infer_as_usual(model: Any) -> bool:
    """Undo `keep_4_bit_trainable`: what infers from then on is the library's own way. Whether that
    can be: it refuses Linears whose rows are no whole blocks."""
    from bitsandbytes import functional

    linears = [m for m in model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    if any(linear.out_features % REPACKED_ROWS for linear in linears):
        return False
    for linear in linears:
        linear.support_avx512bf16_for_cpu = functional.has_avx512bf16()
    return True


def nf4_kernels(device: str) -> Kernels:
    """Which rounding of nf4.py bitsandbytes has there, where it has kernels at all."""
    if device.startswith("cuda"):
        return "cuda"
    return "cpu" if releases.installed("bitsandbytes") >= Version("0.50.0") else "nearest"
