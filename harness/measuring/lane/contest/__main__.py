"""`harness lane contest WAY… --out FILE`: sides in processes of their own, stepping in turn."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError
from harness.measuring.instruments import meters
from harness.measuring.instruments.work import lengths_of
from harness.measuring.lane.bench import Lane, describe
from harness.measuring.lane.contest.conduct import Running, end, held, rounds, started
from harness.measuring.lane.contest.process import PEERS, TRAINER
from harness.measuring.lane.contest.start import Spec, write_batches
from harness.measuring.lane.provenance import provenance
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.words import recipe_options
from harness.measuring.lane.work import work
from harness.measuring.snapshots.loading import meta_model, quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.recipe.published import Recipe, variant
from harness.recipe.ways import VARIANTS
from harness.records.folders import import_root
from harness.records.printable import one_line
from harness.records.seals import write_sealed

SCHEMA = 1
TRUTH = "published"
BESIDE = "other work ran on the machine beside this contest: its times say nothing"
WARM_UP = 2


@dataclass(frozen=True)
class ContestSpec:
    """What a contest is between and on. ways: steps by way. micro: batches per optimizer step.
    size: samples per batch. steps: rounds. seconds: no round begins after so many. beside: other
    work runs on the machine. padding: another side than the recipe's, for all sides."""

    ways: Mapping[str, int]
    out: Path
    model: str
    device: str
    tokens: int
    micro: int
    size: int
    steps: int
    seconds: float
    beside: bool
    padding: str | None
    recipe: Recipe


def spec_of(words: Sequence[str] | None = None) -> ContestSpec:
    """WAY[:STEPS]…: a variant, `trainer`, or a peer; fewer steps where they are slow. None: the
    process's own words. Raises BadInput for an unknown way."""
    parser = argparse.ArgumentParser(prog="harness lane contest", description=__doc__)
    parser.add_argument("ways", nargs="+", metavar="WAY[:STEPS]")
    parser.add_argument("--out", type=Path, required=True, help="the record's file")
    parser.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=800)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3600, help="no round begins after so many")
    parser.add_argument(
        "--beside", action="store_true", help="other work runs here: times will say nothing"
    )
    parser.add_argument("--padding", choices=["right"], help="other than the recipe's, the left")
    recipe_options(parser)
    given = parser.parse_args(words)
    recipe = variant(given.recipe)
    return ContestSpec(
        ways=_ways(given.ways, given.steps),
        out=given.out,
        model=given.model,
        device=given.device,
        tokens=given.tokens,
        micro=given.micro or recipe.training.gradient_accumulation_steps,
        size=given.size or recipe.training.per_device_train_batch_size,
        steps=given.steps,
        seconds=given.seconds,
        beside=given.beside,
        padding=given.padding,
        recipe=recipe,
    )


def _ways(words: list[str], steps: int) -> dict[str, int]:
    steps_of = {}
    for word in words:
        name, _, count = word.partition(":")
        if name not in {*VARIANTS, *PEERS, TRAINER}:
            raise BadInput(f"There is no way {name!r}; choose from {', '.join(VARIANTS)}.")
        steps_of[name] = min(steps, int(count)) if count else steps
    if TRUTH not in steps_of:
        raise BadInput(f"Every contest needs {TRUTH!r}: the others are held against it.")
    return steps_of


def run(spec: ContestSpec) -> int:
    """0 where every side came to its end, 3 where one failed; the record is written anyway."""
    began = time.monotonic()
    source = resolve(spec.model)
    device = spec.device
    quantisation = quantisation_mode(device)
    shelf = Shelf(source.snapshot, "cpu", quantisation)
    lane = Lane(shelf, micro=spec.micro, size=spec.size, recipe=spec.recipe)
    spec.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(import_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        sides = [
            started(
                Spec(
                    way,
                    source.snapshot,
                    device,
                    folder,
                    spec.tokens,
                    spec.micro,
                    spec.size,
                    lane.sets,
                    steps,
                    spec.recipe,
                ),
                environment,
            )
            for way, steps in spec.ways.items()
        ]
        # They load while the batches are made; each looks for them when it has its model.
        batches = lane.data(spec.tokens, padding=spec.padding)
        write_batches(folder, batches)
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
        rate = meters.matmul_rate(device=device, dtype=dtype)
        for side in sides:
            side.ready = side.heard()
            say(f"{side.spec.way}: {side.failed or 'ready'} {side.ready.get('facts', '')}")
        rounds(sides, spec.steps, began + spec.seconds, sys.stdout)
        end(sides)
        record = {
            "schema": SCHEMA,
            "case": "contest",
            "tokens": spec.tokens,
            "padding": spec.padding or "as the recipe",
            "size": spec.size,
            "family": source.family,
            **provenance(source.name, device, quantisation, spec.recipe),
            "truth": TRUTH,
            "warm_up": WARM_UP,
            "batch": describe(batches, lane),
            "matmul_rate": rate,
            "work": _work(lane, batches, spec.ways),
            "sides": held(sides, TRUTH),
            "logs": {s.spec.way: _tail(s) for s in sides if s.failed},
            "superseded": dict.fromkeys(spec.ways, BESIDE) if spec.beside else {},
        }
        write_sealed(spec.out, record)
    return 3 if any(side.failed for side in sides) else 0


def say(line: str) -> None:
    """At once."""
    print(line, flush=True)


def _tail(side: Running) -> str:
    return side.log.read_text("utf-8", errors="replace")[-3000:]


def _work(lane: Lane, batches: list[dict[str, Any]], ways: Mapping[str, int]) -> dict[str, Any]:
    """FLOPs of one step by way: useful and executed. A peer's useful ones are the truth's."""
    shapes = meta_model(lane.snapshot)
    flops = {}
    for way in ways:
        kind = VARIANTS.get(way, VARIANTS[TRUTH])
        batches_work = [work(shapes, lengths_of(batch, lane.family), kind) for batch in batches]
        flops[way] = {
            "useful": sum(w.useful for w in batches_work) / lane.sets,
            "executed": sum(w.executed for w in batches_work) / lane.sets
            if way in VARIANTS
            else None,
        }
    return flops


def main() -> int:
    """One sentence and its exit code for what the user got wrong."""
    try:
        return run(spec_of())
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
