"""NF4 with double quantisation in plain torch, bit for bit what bitsandbytes computes.

Needed because bitsandbytes has no CPU kernels before 0.46: there the weights pass through this
file, and every number that depends on them is labelled emulated. Sources: QLoRA, appendix E
(arXiv 2305.14314) for the table and the nested quantisation; "8-bit Approximations for
Parallelism in Deep Learning" (arXiv 1511.04561) for the 8-bit dynamic map.

The kernels of one library version do not agree with each other, so `kernels` names which ones
are reproduced:

- `cuda`: four of the kernel's decision constants, written in decimal, round to the float32 next
  to the true midpoint; the last, incomplete block is scaled like every other; a block of zeros
  divides zero by zero and so packs the code of -1; the nested codes are found by binary search.
- `cpu` (bitsandbytes 0.50 on x86-64): the incomplete block is divided instead of multiplied by
  the reciprocal, a block of zeros packs the code of 0, and the nested codes come from a table
  of 65,536 bins, so values close to a decision boundary land on the wrong side of it.
- `nearest` (bitsandbytes 0.46 to 0.49 on x86-64, whole blocks): the table value at the smallest
  float32 distance, the lower one of two; a block of zeros and the search for the nested codes as
  `cuda`, but in a map whose lowest value the library has overwritten with -1. Where all blocks
  have one scale 0.46 to 0.48 end in a segmentation fault; from 0.47 to 0.48 a 16-bit
  weight comes back through a table rounded to its dtype, which `dequantise` does not do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.measuring._compat import Kernels

BLOCK = 64
NESTED_BLOCK = 256
# QLoRA, appendix E: quantiles of a standard normal, scaled to [-1, 1], with an exact zero.
TABLE = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
# Decision constants of the CUDA kernel that are not the float32 midpoint of their neighbours, by
# position (seen on an H200 with bitsandbytes 0.50.2; the same literals stand in 0.44.0).
CUDA_CONSTANTS = {
    0: -0.8480964303016663,
    8: 0.1202552542090416,
    12: 0.5016633868217468,
    14: 0.8614783883094788,
}
# bitsandbytes' CPU kernels never let the scale of an incomplete or empty block reach zero.
TINY = 1e-38
BINS = 65536


@dataclass(frozen=True)
class Quantised:
    """One quantised weight and everything needed to get it back.

    packed: uint8 (ceil(n/2),), first value in the high half of each byte. absmax: uint8
    (ceil(n/64),), codes of the dynamic map. nested_absmax: float32 (ceil(blocks/256),).
    offset: float32 scalar, the mean of the true absmax. table: float32 (16,). nested_table:
    float32 (256,). shape and dtype: the weight's.
    """

    packed: Any
    absmax: Any
    nested_absmax: Any
    offset: Any
    table: Any
    nested_table: Any
    shape: tuple[int, ...]
    dtype: Any

    @property
    def nbytes(self) -> int:
        """Bytes of every tensor held."""
        tensors = (
            self.packed,
            self.absmax,
            self.nested_absmax,
            self.offset,
            self.table,
            self.nested_table,
        )
        return sum(int(t.numel()) * int(t.element_size()) for t in tensors)


@cache
def dynamic_map() -> Any:
    """The signed 8-bit dynamic map: float32 (256,), sorted.

    For i = 0..6, 2^i fractions between 0.1 and 1 times 10^(i-6), both signs; then 0 and 1.
    """
    import torch

    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        # In float32, as the library does it: the means are part of the format.
        means = (edges[:-1] + edges[1:]) / 2.0
        scale = 10 ** (exponent - 6)
        values += (scale * means).tolist() + (-scale * means).tolist()
    return torch.tensor(sorted(values), dtype=torch.float32)


def _nested_table(kernels: Kernels) -> Any:
    table = dynamic_map()
    if kernels == "nearest":
        table = table.clone()
        table[0] = -1.0
    return table


def _midpoints(table: Any) -> Any:
    return (table[:-1] + table[1:]) / 2


def _thresholds(table: Any, kernels: Kernels) -> Any:
    limits = _midpoints(table)
    if kernels == "cuda":
        for position, value in CUDA_CONSTANTS.items():
            limits[position] = value
    return limits


def _nearest_code(scaled: Any, table: Any) -> Any:
    """Where |scaled - table| is smallest, both rounded to float32; the lower one of two."""
    import torch

    upper = torch.bucketize(scaled, table).clamp(1, len(table) - 1)
    lower = upper - 1
    return torch.where((scaled - table[lower]).abs() <= (table[upper] - scaled).abs(), lower, upper)


@cache
def _bins() -> Any:
    """Nested code of each of the 65,536 bins of [-1, 1] (the CPU kernels' lookup table)."""
    import torch

    index = torch.arange(BINS, dtype=torch.float32)
    centres = (2 * index) / (BINS - 1) - 1
    return torch.bucketize(centres, _midpoints(dynamic_map())).to(torch.uint8)


def _bin_code(scaled: Any) -> Any:
    import torch

    # One fused multiply-add: exact in float64, then a single rounding to float32.
    half = ((scaled.clamp(-1, 1) + 1) * 0.5).double()
    index = (half * (BINS - 1) + 0.5).float().to(torch.int64)
    return _bins().to(scaled.device)[index]


def _search_code(scaled: Any, table: Any) -> Any:
    """The CUDA kernel's binary search, step by step: ties go to the last pivot."""
    import torch

    pivot = torch.full_like(scaled, 127, dtype=torch.int64)
    upper, lower = torch.full_like(pivot, 255), torch.zeros_like(pivot)
    step = 64
    while step:
        above = scaled > table[pivot]
        lower = torch.where(above, pivot, lower)
        upper = torch.where(above, upper, pivot)
        pivot = torch.where(above, pivot + step, pivot - step)
        step //= 2
    here = table[pivot]
    up = (scaled > here) & (scaled > (table[upper] + here) * 0.5)
    down = (scaled <= here) & (scaled < (table[lower] + here) * 0.5)
    return torch.where(up, upper, torch.where(down, lower, pivot)).to(torch.uint8)


def blocks(flat: Any, size: int) -> Any:
    """(n,) as (ceil(n/size), size), filled up with zeros."""
    import torch

    missing = -flat.numel() % size
    return torch.nn.functional.pad(flat, (0, missing)).view(-1, size)


def _nested(values: Any, kernels: Kernels) -> tuple[Any, Any]:
    """8-bit codes (uint8, like values) and the scale of every 256 of them (float32)."""
    import torch

    rows = blocks(values, NESTED_BLOCK)
    scale = rows.abs().amax(1)
    scaled = rows * (1.0 / scale)[:, None]
    if kernels != "cpu":
        codes = _search_code(scaled, _nested_table(kernels).to(scaled.device))
    else:
        # A block of values that all equal their mean has no scale and gets code 0.
        codes = torch.where(scale[:, None] > 0, _bin_code(scaled.nan_to_num()), 0)
    return codes.reshape(-1)[: values.numel()].to(torch.uint8), scale


def _scaled(rows: Any, absmax: Any, incomplete: bool, kernels: Kernels) -> Any:
    if kernels != "cpu":
        return rows * (1.0 / absmax)[:, None]
    scaled = rows * (1.0 / absmax.clamp(min=TINY))[:, None]
    if incomplete:
        scaled[-1] = rows[-1] / absmax[-1]
    return scaled.clamp(-1, 1)


def quantise(weight: Any, *, kernels: Kernels = "cuda") -> Quantised:
    """Quantise a float32, bfloat16 or float16 weight of any shape.

    Raises TypeError for another dtype.
    """
    import torch

    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise TypeError(f"NF4 quantises 16- and 32-bit floats, not {weight.dtype}")
    count = weight.numel()
    rows = blocks(weight.detach().reshape(-1).float(), BLOCK)
    absmax = rows.abs().amax(1)
    incomplete = bool(count % BLOCK)
    if incomplete and kernels == "cpu":
        absmax[-1].clamp_(min=TINY)
    table = torch.tensor(TABLE, dtype=torch.float32, device=weight.device)
    scaled = _scaled(rows, absmax, incomplete, kernels).reshape(-1)[: count + count % 2]
    if kernels == "nearest":
        codes = _nearest_code(scaled, table)
    else:
        codes = torch.bucketize(scaled, _thresholds(table, kernels))
    # Comparisons with 0/0 are all false, which is the leftmost leaf of the kernel's tree; torch's
    # argmin takes the first of them.
    codes = torch.where(scaled.isnan(), 0, codes).to(torch.uint8)
    offset = absmax.mean()
    nested, scale = _nested(absmax - offset, kernels)
    return Quantised(
        packed=(codes[::2] << 4) | codes[1::2],
        absmax=nested,
        nested_absmax=scale,
        offset=offset,
        table=table,
        nested_table=_nested_table(kernels).to(weight.device),
        shape=tuple(weight.shape),
        dtype=weight.dtype,
    )


def dequantise(quantised: Quantised) -> Any:
    """The weight that training really sees: shape and dtype of the original."""
    import torch

    q = quantised
    absmax = blocks(q.nested_table[q.absmax.long()], NESTED_BLOCK) * q.nested_absmax[:, None]
    absmax = absmax.reshape(-1)[: q.absmax.numel()] + q.offset
    codes = torch.stack((q.packed >> 4, q.packed & 15), 1).reshape(-1).long()
    count = 1
    for side in q.shape:
        count *= side
    values = blocks(q.table[codes][:count], BLOCK) * absmax[:, None]
    return values.reshape(-1)[:count].view(q.shape).to(q.dtype)


def is_skipped(name: str, skip: Collection[str]) -> bool:
    """Whether a module stays as it is: any component of its dotted path is in `skip`."""
    return not set(skip).isdisjoint(name.split("."))


def emulate_(model: Any, skip: Collection[str], *, kernels: Kernels = "cuda") -> int:
    """Pass every Linear weight through quantise and dequantise in place; returns how many.

    skip: module names left alone, matched against each component of the dotted path, as
    Hugging Face matches `llm_int8_skip_modules`.
    """
    import torch

    count = 0
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not is_skipped(name, skip):
            weight = module.weight
            weight.data.copy_(dequantise(quantise(weight.data, kernels=kernels)))
            count += 1
    return count
