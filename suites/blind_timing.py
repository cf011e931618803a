"""Blind tests of timing: `python -m suites.blind_timing` measures them on this machine's CPU.

A hundred trials have a planted slowdown, a hundred have none, in an order drawn from a seed. A
trial is pairs of short steps in the order A B B A …; a step is `UNITS` equal products of matrices,
and the slower side really computes 3 % more of them. Every step is timed by the wall clock and by
its thread's own CPU time: what other programs take of a core is in the first and not in the second.
Raw pairs and seeds are committed; the judge (`records.statistics.ratio`) is given times alone, and
a test judges them again.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.records.machine import cpu_capability, cpu_model
from harness.records.statistics import abba, ratio

FOLDER = Path(__file__).parent / "timing"
TRIALS = 100
PAIRS = 500
UNITS = 200
SLOWER = 6
SIZE = 32
SEED = 16
CLOCKS = ("wall", "cpu")
COUNTS = (100, 200, 300, 400, PAIRS)
Pairs = npt.NDArray[np.uint32]


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


def _step(matrix: npt.NDArray[np.float32], out: npt.NDArray[np.float32], units: int) -> list[int]:
    """One step's time by clock, in tenths of a microsecond."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    for _ in range(units):
        np.matmul(matrix, matrix, out=out)
    wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
    return [wall // 100, cpu // 100]


def measure() -> tuple[Key, Pairs]:
    """The key, and tenths of a microsecond (trials, clocks, sides A and B, pairs)."""
    draw = random.Random(SEED)
    planted = [True] * TRIALS + [False] * TRIALS
    draw.shuffle(planted)
    matrix = np.random.default_rng(SEED).standard_normal((SIZE, SIZE)).astype(np.float32)
    out = np.empty_like(matrix)
    times = np.zeros((2 * TRIALS, len(CLOCKS), 2, PAIRS), np.uint32)
    begun = os.getloadavg()[0]
    for trial, is_slower in enumerate(planted):
        units = {"A": UNITS, "B": UNITS + SLOWER * is_slower}
        for letter in "AB" * 5:  # caches and clocks settle
            _step(matrix, out, units[letter])
        for number, letter in enumerate(abba(PAIRS)):
            times[trial, :, "AB".index(letter), number // 2] = _step(matrix, out, units[letter])
    load = (begun, os.getloadavg()[0])
    machine = (cpu_model(), cpu_capability(), os.cpu_count() or 1)
    return Key(SEED, PAIRS, tuple(planted), (UNITS, UNITS + SLOWER), *machine, load), times


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


def read(folder: Path = FOLDER) -> tuple[Key, Pairs]:
    """What was measured and committed."""
    raw = json.loads((folder / "cpu.json").read_text(encoding="utf-8"))
    lists = {name: tuple(raw[name]) for name in ("planted", "units", "load")}
    with np.load(folder / "cpu.npz") as stored:
        return Key(**{**raw, **lists}), stored["times"]


def write(key: Key, times: Pairs, folder: Path = FOLDER) -> None:
    """Commit them."""
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "cpu.npz", times=times)
    (folder / "cpu.json").write_text(json.dumps(asdict(key), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    measured = measure()
    write(*measured)
    for clock, name in enumerate(CLOCKS):
        for count in COUNTS:
            print(name, count, tally(measured[0].planted, measured[1][:, clock], count))
