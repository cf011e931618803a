"""What a step costs on the device: events, peaks, energy, idle time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.measuring.instruments.meters import synchronise


@dataclass(frozen=True)
class Timed:
    """One step. seconds: between two events on the stream (wall time on a CPU). peak: bytes
    allocated at most, of the whole process (0 on a CPU)."""

    seconds: float
    wall: float
    peak: int
    loss: float
    norm: float


def timed(call: Callable[[], tuple[Any, Any]], device: str) -> Timed:
    """Run one step and wait for it."""
    import torch

    on_cuda = device.startswith("cuda")
    synchronise(device)
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
    begin = time.perf_counter()
    loss, norm = call()
    if on_cuda:
        end.record()
    synchronise(device)
    wall = time.perf_counter() - begin
    seconds = float(start.elapsed_time(end)) / 1000 if on_cuda else wall
    peak = int(torch.cuda.max_memory_allocated(device)) if on_cuda else 0
    return Timed(seconds, wall, peak, float(loss), float(norm))


def allocated(device: str) -> int:
    """Bytes that tensors hold now; 0 on a CPU."""
    import torch

    return int(torch.cuda.memory_allocated(device)) if device.startswith("cuda") else 0


def memory_now(device: str) -> dict[str, int]:
    """allocated, reserved, and what the driver says is in use on the card, in bytes."""
    import torch

    if not device.startswith("cuda"):
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "allocated": int(torch.cuda.memory_allocated(device)),
        "reserved": int(torch.cuda.memory_reserved(device)),
        "driver": int(total - free),
        "peak_allocated": int(torch.cuda.max_memory_allocated(device)),
        "peak_reserved": int(torch.cuda.max_memory_reserved(device)),
    }


def energy_joules() -> float | None:
    """The card's energy counter since the driver loaded (NVML), None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None


def idle_share(call: Callable[[], object], device: str) -> float | None:
    """Share of one step's wall time in which no kernel ran, by torch's profiler; None on a CPU.

    Kernels of one stream don't overlap, so their durations add up to the busy time. The profiler
    slows the CPU side: an upper bound for the idle share.
    """
    import torch

    if not device.startswith("cuda"):
        return None
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    synchronise(device)
    begin = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as profile:
        call()
        synchronise(device)
        wall = time.perf_counter() - begin
    busy = sum(e.self_device_time_total for e in profile.key_averages()) / 1e6
    return max(0.0, 1.0 - busy / wall)
