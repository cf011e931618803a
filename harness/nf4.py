"""NF4 with double quantisation in plain torch: quantise, dequantise, emulate.

The data type is QLoRA's (arXiv 2305.14314): per block of 64 weights the largest magnitude and a
4-bit index into 16 quantiles of the normal distribution. Double quantisation stores those
magnitudes, less their mean, as 8-bit indices into the dynamic map of arXiv 1511.04561, per block
of 256. Nothing here comes from or calls bitsandbytes; suites/test_nf4.py compares bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

BLOCK = 64
NESTED_BLOCK = 256
# The published table: quantiles of N(0, 1), scaled to [-1, 1], with an exact zero.
TABLE = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Quantised:
    """packed: uint8 (ceil(n/2),), high nibble first. absmax: uint8 (blocks,) when doubly
    quantised, else float32. nested_absmax: float32 (ceil(blocks/256),); offset: float32 scalar."""

    packed: Any
    absmax: Any
    nested_absmax: Any
    offset: Any
    shape: tuple[int, ...]
    dtype: Any


@cache
def dynamic_map() -> tuple[float, ...]:
    """The 256 values of the signed dynamic 8-bit type with 7 exponent bits, ascending."""
    import torch

    values: list[float] = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1, dtype=torch.float32)
        means = ((edges[:-1] + edges[1:]) / 2.0) * 10 ** (exponent - 6)
        values += means.tolist() + (-means).tolist()
    return tuple(sorted(values))


def _nearest(values: Any, table: Any) -> Any:
    """Index of the nearest table value; a tie goes to the lower one."""
    import torch

    return torch.bucketize(values, (table[:-1] + table[1:]) / 2.0)


def _blocks(flat: Any, size: int) -> tuple[Any, Any]:
    """(values scaled to [-1, 1], largest magnitude per block)."""
    import torch

    pad = -flat.numel() % size
    rows = torch.nn.functional.pad(flat, (0, pad)).view(-1, size)
    absmax = rows.abs().amax(dim=1)
    scaled = rows * (1.0 / absmax.clamp(min=1e-38)).unsqueeze(1)
    return scaled.clamp(-1, 1).reshape(-1)[: flat.numel()], absmax


def quantise(weight: Any) -> Quantised:
    """Quantise a float32, bfloat16 or float16 tensor of any shape, with double quantisation."""
    import torch

    table = torch.tensor(TABLE, dtype=torch.float32)
    scaled, absmax = _blocks(weight.detach().reshape(-1).float(), BLOCK)
    index = _nearest(scaled, table).to(torch.uint8)
    if index.numel() % 2:
        # An odd last nibble is filled with the index of zero.
        index = torch.cat([index, index.new_full((1,), TABLE.index(0.0))])
    packed = (index[::2] << 4) | index[1::2]
    offset = absmax.mean()
    nested_scaled, nested_absmax = _blocks(absmax - offset, NESTED_BLOCK)
    codes = _nearest(nested_scaled, torch.tensor(dynamic_map(), dtype=torch.float32))
    return Quantised(
        packed, codes.to(torch.uint8), nested_absmax, offset, tuple(weight.shape), weight.dtype
    )


def dequantise(quantised: Quantised) -> Any:
    """The tensor that the 4-bit kernels compute with, in the original dtype and shape."""
    import torch

    table = torch.tensor(TABLE, dtype=torch.float32)
    nested = torch.tensor(dynamic_map(), dtype=torch.float32)[quantised.absmax.long()]
    scale = quantised.nested_absmax.repeat_interleave(NESTED_BLOCK)[: nested.numel()]
    absmax = nested * scale + quantised.offset
    index = torch.stack([quantised.packed >> 4, quantised.packed & 0xF], dim=1).reshape(-1).long()
    count = 1
    for side in quantised.shape:
        count *= side
    values = table[index[:count]] * absmax.repeat_interleave(BLOCK)[:count]
    return values.reshape(quantised.shape).to(quantised.dtype)


def skipped(name: str, skip: Sequence[str]) -> bool:
    """Whether a module stays as it is: a path component is on the list, as Hugging Face does."""
    return bool(set(name.split(".")) & set(skip))


def emulate_(model: Any, *, skip: Sequence[str]) -> tuple[str, ...]:
    """Replace every Linear's weight by what NF4 makes of it, in place; returns the names."""
    import torch

    done = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not skipped(name, skip):
            with torch.no_grad():
                module.weight.copy_(dequantise(quantise(module.weight)))
            done.append(name)
    return tuple(done)


def on_grid(weight: Any) -> bool:
    """Whether every block of 64 holds at most 16 distinct values, as dequantised NF4 does."""
    rows = weight.detach().reshape(-1)
    rows = rows[: rows.numel() // BLOCK * BLOCK].view(-1, BLOCK).sort(dim=1).values
    distinct = 1 + (rows[:, 1:] != rows[:, :-1]).sum(dim=1)
    return bool((distinct <= len(TABLE)).all())
