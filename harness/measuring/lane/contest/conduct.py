"""Starts the sides, lets them step in turn, and holds what they leave against the truth."""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from harness.measuring.lane.contest.likeness import alike
from harness.measuring.lane.contest.start import Spec, spec_to_json
from harness.records.files import write_json
from harness.records.printable import one_line
from harness.records.steps import Alike, Side, Step
from harness.records.typed import build

TAIL = 6000
# Seconds that a side has to load and to make a step, compilation included.
PATIENCE = 200.0


@dataclass
class Running:
    """One side's process. failed: why it ended before its time."""

    spec: Spec
    child: subprocess.Popen[str]
    log: Path
    ready: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    failed: str = ""
    traceback: str = ""

    def tell(self, line: str) -> None:
        """Without waiting for the answer."""
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            self.failed = self.failed or "its process ended"

    def heard(self) -> Mapping[str, Any]:
        """The next answer; one that says broken, or none, marks the side as failed."""
        assert self.child.stdout is not None
        if not select.select([self.child.stdout], [], [], PATIENCE)[0]:
            self.failed = f"no answer in {PATIENCE:.0f} s"
            self.child.kill()
            return {}
        line = self.child.stdout.readline()
        if not line:
            tail = self.log.read_text("utf-8", errors="replace")[-TAIL:]
            self.failed, self.traceback = "its process ended without a word", tail
            return {}
        reply: Mapping[str, Any] = json.loads(line)
        if reply["kind"] == "broken":
            self.failed = f"{reply['type']}: {reply['message']}"
            self.traceback = reply["traceback"]
        return reply


def started(spec: Spec, environment: Mapping[str, str]) -> Running:
    """A side's process, loading."""
    file = spec.folder / f"{spec.way}.json"
    write_json(file, spec_to_json(spec))
    log = spec.folder / f"{spec.way}.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "harness.measuring.lane.contest.process", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env=dict(environment),
        )
    return Running(spec, child, log)


def rounds(sides: Sequence[Running], steps: int, until: float, note: TextIO) -> None:
    """Every side one step, in turn; the order turns round with every round.

    In the first round, which compiles and is not timed, all step at once. until: by
    time.monotonic; no round begins after it. A side that fails leaves.
    """
    for number in range(steps):
        if time.monotonic() > until:
            print(f"out of time before round {number + 1}", file=note, flush=True)
            return
        live = [side for side in sides if not side.failed and number < side.spec.steps]
        if number == 0:
            for side in live:
                side.tell("step 0")
        for side in live if number % 2 == 0 else reversed(live):
            if number:
                side.tell(f"step {number}")
            _take(side, side.heard(), note)


def _take(side: Running, reply: Mapping[str, Any], note: TextIO) -> None:
    """A step's answer into its side, or why there is none."""
    number = len(side.steps)
    if reply.get("kind") == "step":
        raw = reply["step"]
        if math.isfinite(raw["loss"]) and math.isfinite(raw["norm"]):
            side.steps.append(build(Step, raw))
            print(
                f"{side.spec.way} {number}: {raw['seconds']:.3f} s, {raw['peak'] / 1e9:.2f} GB, "
                f"loss {raw['loss']:.6f}, norm {raw['norm']:.5f}, labels {raw['labels']}",
                file=note,
                flush=True,
            )
            return
        side.failed = f"in step {number + 1} the loss is {raw['loss']}, the norm {raw['norm']}"
    print(f"{side.spec.way} failed: {one_line(side.failed)}", file=note, flush=True)


def end(sides: Sequence[Running]) -> None:
    """Let the live sides write what they kept; end every process."""
    for side in sides:
        if not side.failed:
            side.tell("end")
    for side in sides:
        if not side.failed:
            side.ended = side.heard()
        assert side.child.stdin is not None
        side.child.stdin.close()
        try:
            side.child.wait(20)
        except subprocess.TimeoutExpired:
            side.child.kill()


def held(sides: Sequence[Running], truth: str) -> dict[str, Any]:
    """Every side as the record has it: likeness to the truth, or why it failed."""
    first = next(side for side in sides if side.spec.way == truth)
    if first.failed or not first.ended:
        raise RuntimeError(f"the truth, {truth}, failed: {first.failed}\n{first.traceback}")
    theirs = _tensors(first)
    by_way: dict[str, Any] = {}
    for side in sides:
        if side.failed or not side.ended:
            by_way[side.spec.way] = {
                "failed": side.failed,
                "traceback": side.traceback,
                "steps": [asdict(step) for step in side.steps],
            }
        else:
            by_way[side.spec.way] = asdict(_side(side, _tensors(side), first, theirs))
    return by_way


def _tensors(side: Running) -> dict[str, dict[str, Any]]:
    from safetensors.torch import load_file

    by_place: dict[str, dict[str, Any]] = {}
    for key, value in load_file(str(side.ended["tensors"])).items():
        place, name = key.split("/", 1)
        by_place.setdefault(place, {})[name] = value
    return by_place


def _side(
    side: Running,
    mine: Mapping[str, dict[str, Any]],
    truth: Running,
    theirs: Mapping[str, dict[str, Any]],
) -> Side:
    gradients = tuple(
        alike(mine.get(f"{number:04d}", {}), theirs[f"{number:04d}"])
        for number in range(min(len(side.steps), len(truth.steps)))
    )
    # Another number of steps is another way of the weights.
    moved: Alike | None = None
    if len(side.steps) == len(truth.steps):
        moved = alike(mine["moved"], theirs["moved"])
    wanted = truth.ended["dtypes"]
    other = {
        name: f"{given} for {wanted[name]}"
        for name, given in side.ended["dtypes"].items()
        if name in wanted and wanted[name] != given
    }
    return Side(
        side.spec.way,
        side.ready["what"],
        tuple(side.steps),
        gradients,
        moved,
        other,
        tuple(side.ended["dropping"]),
        load_seconds=side.ready["load_seconds"],
        first_step_seconds=side.steps[0].wall,
        reserved=side.ended["reserved"],
        dtypes_seen=len(side.ended["dtypes"]),
        facts=side.ended["facts"],
    )
