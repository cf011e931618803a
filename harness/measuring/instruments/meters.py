"""Meters: exact bytes, memory, counted FLOPs, a synchronised step timer, a matmul rate.

Deterministic counters come first (bytes, FLOPs): they gate exactly. Times are raw samples, the
statistics are somebody else's.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of the elements of some tensors (not of what an allocator rounds them up to)."""
    return sum(int(t.numel()) * int(t.element_size()) for t in tensors)


def peak_rss_bytes() -> int:
    """Largest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


@dataclass(frozen=True)
class CudaMemory:
    """Bytes since the last reset: peak of what tensors held, peak of what was reserved."""

    allocated: int
    reserved: int


def reset_cuda_memory(device: str) -> None:
    """Start a new peak. Nothing to do on a CPU."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def cuda_memory(device: str) -> CudaMemory:
    """The peaks. Raises ValueError for a CPU."""
    import torch

    if not device.startswith("cuda"):
        raise ValueError(f"{device} has no CUDA memory to read")
    return CudaMemory(
        int(torch.cuda.max_memory_allocated(device)), int(torch.cuda.max_memory_reserved(device))
    )


@dataclass(frozen=True)
class Flops:
    """Floating-point operations by torch's counter. by_operator: e.g. `mm`, `bmm`."""

    total: int
    by_operator: Mapping[str, int]


def count_flops(call: Callable[[], object]) -> Flops:
    """Count the matrix products that a call executes, on any device, without noise.

    torch.utils.flop_counter sees mm, addmm, bmm, baddbmm, convolutions and its fused attention
    kernels; a library's own kernels (4-bit products) and CPU fused attention stay uncounted, so
    give it an unpacked model with eager attention.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    by_operator = counter.get_flop_counts().get("Global", {})
    return Flops(
        int(counter.get_total_flops()),
        {str(op).removeprefix("aten."): int(n) for op, n in sorted(by_operator.items(), key=str)},
    )


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def time_calls(
    call: Callable[[], object], *, device: str, repeats: int, warm_up: int = 1
) -> tuple[float, ...]:
    """Seconds of each of `repeats` calls, after `warm_up` unrecorded ones.

    On CUDA between two events on the current stream, elsewhere by perf_counter.
    """
    import torch

    for _ in range(warm_up):
        call()
    synchronise(device)
    seconds = []
    for _ in range(repeats):
        if device.startswith("cuda"):
            start = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            seconds.append(float(start.elapsed_time(end)) / 1000)
        else:
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
    return tuple(seconds)


def median(samples: Iterable[float]) -> float:
    """Middle value (of the sorted samples; the upper of two). Raises IndexError if empty."""
    ordered = sorted(samples)
    return ordered[len(ordered) // 2]


def matmul_rate(*, device: str, dtype: str, size: int = 0, repeats: int = 5) -> float:
    """Best FLOP/s of a square product of that dtype in this process: what MFU is a share of.

    size: side of the matrices; by default 8,192 on CUDA, 768 elsewhere.
    """
    import torch

    side = size or (8192 if device.startswith("cuda") else 768)
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(side, side, generator=generator).to(device=device, dtype=getattr(torch, dtype))
        for _ in range(2)
    )
    seconds = time_calls(lambda: left @ right, device=device, repeats=repeats, warm_up=2)
    return float(2 * side**3 / min(seconds))
