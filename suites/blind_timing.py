"""Blind tests of timing: `python -m suites.blind_timing [cuda]` measures them, on the CPU or a GPU.

A hundred trials have a planted slowdown, a hundred have none, in an order drawn from a seed. A
trial is pairs of short steps in the order A B B A …; a step is equal products of matrices, and the
slower side really computes 3 % more of them. Every step is timed by the wall clock and by a second
one: on a CPU by its thread's own CPU time, which has nothing of what other programs take of a core;
on a GPU by the device's own events, which have nothing of what comes before the first product. Raw
pairs and seeds are committed; the judge (`records.statistics.ratio`) is given times alone, and a
test judges them again.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.records.machine import cpu_capability, cpu_model
from harness.records.statistics import abba, ratio

FOLDER = Path(__file__).parent / "timing"
TRIALS = 100
SEED = 16
Pairs = npt.NDArray[np.uint32]
# Takes a step of so many products; its time by clock, in tenths of a microsecond.
Step = Callable[[int], list[int]]


@dataclass(frozen=True)
class Bench:
    """What a device's steps are: pairs of a trial, products of the usual and of the slower step,
    rows and columns of a matrix. counts: how many pairs are judged for the table."""

    device: str
    clocks: tuple[str, str]
    pairs: int
    units: tuple[int, int]
    size: int
    counts: tuple[int, ...]


# About a millisecond a step on either.
CPU = Bench("cpu", ("wall", "cpu"), 500, (200, 206), 32, (50, 100, 200, 300, 400, 500))
CUDA = Bench("cuda", ("wall", "events"), 200, (100, 103), 1536, (10, 20, 50, 100, 200))
BENCHES = {bench.device: bench for bench in (CPU, CUDA)}


@dataclass(frozen=True)
class Key:
    """What was planted, by trial: sealed from the judge. units: of a step of A and of B."""

    seed: int
    pairs: int
    planted: tuple[bool, ...]
    units: tuple[int, int]
    cpu: str
    capability: str
    cores: int
    load: tuple[float, float]
    device: str = "cpu"
    gpu: str = ""


def step_on_cpu(size: int) -> Step:
    """Products in float32; wall clock and CPU time."""
    matrix = np.random.default_rng(SEED).standard_normal((size, size)).astype(np.float32)
    out = np.empty_like(matrix)

    def step(units: int) -> list[int]:
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        for _ in range(units):
            np.matmul(matrix, matrix, out=out)
        wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
        return [wall // 100, cpu // 100]

    return step


def step_on_cuda(size: int) -> Step:
    """Products in bfloat16; wall clock until the device is through, and events before and after."""
    import torch

    drawn = torch.Generator("cuda").manual_seed(SEED)
    matrix = torch.randn(size, size, generator=drawn, device="cuda", dtype=torch.bfloat16)
    out = torch.empty_like(matrix)
    events: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def step(units: int) -> list[int]:
        torch.cuda.synchronize()
        wall = time.perf_counter_ns()
        events[0].record()
        for _ in range(units):
            torch.matmul(matrix, matrix, out=out)
        events[1].record()
        torch.cuda.synchronize()
        wall = time.perf_counter_ns() - wall
        return [wall // 100, round(events[0].elapsed_time(events[1]) * 10_000)]

    return step


def drawn_trials() -> tuple[bool, ...]:
    """Which trials have a slower side."""
    planted = [True] * TRIALS + [False] * TRIALS
    random.Random(SEED).shuffle(planted)
    return tuple(planted)


def measure(bench: Bench) -> tuple[Key, Pairs]:
    """The key, and tenths of a microsecond (trials, clocks, sides A and B, pairs)."""
    planted = drawn_trials()
    on_cuda = bench.device == "cuda"
    step = (step_on_cuda if on_cuda else step_on_cpu)(bench.size)
    times = np.zeros((2 * TRIALS, len(bench.clocks), 2, bench.pairs), np.uint32)
    begun = os.getloadavg()[0]
    for trial, is_slower in enumerate(planted):
        units = dict(zip("AB", (bench.units[0], bench.units[is_slower]), strict=True))
        for letter in "AB" * 5:  # caches and clocks settle
            step(units[letter])
        for number, letter in enumerate(abba(bench.pairs)):
            times[trial, :, "AB".index(letter), number // 2] = step(units[letter])
    load = (begun, os.getloadavg()[0])
    machine = (cpu_model(), cpu_capability(), os.cpu_count() or 1)
    gpu = ""
    if on_cuda:
        import torch

        gpu = torch.cuda.get_device_name()
    key = Key(SEED, bench.pairs, planted, bench.units, *machine, load, bench.device, gpu)
    return key, times


@dataclass(frozen=True)
class Tally:
    """How many of each hundred raised an alarm. slower: of the slower, as slower. alarms: of the
    equal, in either direction."""

    slower: int
    alarms: int


def tally(planted: tuple[bool, ...], times: Pairs, pairs: int) -> Tally:
    """Judge the first pairs of every trial by the project's interval. times: of one clock."""
    slower = alarms = 0
    for is_slower, trial in zip(planted, times, strict=True):
        seen = ratio(trial[0, :pairs].tolist(), trial[1, :pairs].tolist())
        slower += is_slower and seen.low > 1
        alarms += not is_slower and (seen.low > 1 or seen.high < 1)
    return Tally(slower, alarms)


def read(device: str, folder: Path = FOLDER) -> tuple[Key, Pairs]:
    """What was measured and committed."""
    raw = json.loads((folder / f"{device}.json").read_text(encoding="utf-8"))
    lists = {name: tuple(raw[name]) for name in ("planted", "units", "load")}
    with np.load(folder / f"{device}.npz") as stored:
        return Key(**{**raw, **lists}), stored["times"]


def write(key: Key, times: Pairs, folder: Path = FOLDER) -> None:
    """Commit them."""
    folder.mkdir(exist_ok=True, parents=True)
    np.savez_compressed(folder / f"{key.device}.npz", times=times)
    words = json.dumps(asdict(key), indent=1) + "\n"
    (folder / f"{key.device}.json").write_text(words, encoding="utf-8")


def main(words: list[str]) -> None:
    """DEVICE FOLDER, both with defaults; prints the table's figures."""
    bench = BENCHES[words[0] if words else "cpu"]
    key, times = measure(bench)
    write(key, times, Path(words[1]) if len(words) > 1 else FOLDER)
    for clock, name in enumerate(bench.clocks):
        for count in bench.counts:
            print(name, count, tally(key.planted, times[:, clock], count))


if __name__ == "__main__":
    main(sys.argv[1:])
