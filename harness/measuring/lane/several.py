"""One process, data parallel, FSDP with 4-bit storage: `harness lane several --out DIR`.

The same few steps on the same global batch, dropout off, each way in processes of its own; the
`_weak` ones give every process as many samples as one has alone, `_split` cuts each micro-batch
among the processes. Every way leaves `<way>.json`, so
that an interrupted call goes on with the next one; when all are there `several.json` compares them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError, NotRunnable
from harness.measuring.lane.bench import free
from harness.measuring.lane.launching import ONE, SPLIT, WAYS, WEAK, launched
from harness.measuring.lane.several_record import SCHEMA, compared, measured
from harness.measuring.lane.words import recipe_options
from harness.measuring.lane.workload import sides_for
from harness.measuring.models import of_snapshot
from harness.measuring.snapshots.loading import quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.measuring.training.capacity import RECORD
from harness.measuring.training.spec import TrainSpec
from harness.recipe import published
from harness.recipe.published import Recipe
from harness.recipe.ways import variant
from harness.records.files import read_json
from harness.records.printable import one_line, quoted
from harness.records.seals import read_sealed, write_sealed

MEND = "delete it and measure again"


@dataclass(frozen=True)
class SeveralSpec:
    """What a call compares. ways: as named, none for all. processes: of the ways with several,
    None: one for each GPU. tokens: of a sample, 0: the catalogue's own. under: a way of
    harness/recipe/ways.py. micro: batches per optimizer step. size: samples per batch. limit:
    seconds for one way. padding: another side than the recipe's, "" for that."""

    ways: tuple[str, ...]
    out: Path
    model: str
    device: str
    processes: int | None
    steps: int
    tokens: int
    under: str
    micro: int
    size: int
    limit: float
    padding: str
    recipe: Recipe


def spec_of(
    words: Sequence[str] | None = None,
    *,
    program: str = "harness lane several",
    about: str | None = __doc__,
    steps: int = 8,
) -> SeveralSpec:
    """WAY… and options, None: the process's own; the defaults are the recipe's batch over a few
    steps. program, about: as its help has them."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"all of {', '.join(WAYS)}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--processes", type=int, help="of the ways with several; default: all GPUs")
    parser.add_argument(
        "--steps", type=int, default=steps, help="three warm up, the last is profiled"
    )
    parser.add_argument("--tokens", type=int, default=0, help="a sample; 0: the catalogue's own")
    parser.add_argument(
        "--under", default="", metavar="NAME", help="a way of harness/recipe/ways.py"
    )
    parser.add_argument("--limit", type=float, default=290.0, help="seconds for one way")
    parser.add_argument(
        "--padding", choices=["right"], default="", help="other than the recipe's, the left"
    )
    recipe_options(parser)
    given = parser.parse_args(words)
    recipe = published.variant(given.recipe)
    return SeveralSpec(
        ways=tuple(given.ways),
        out=given.out,
        model=given.model,
        device=given.device,
        processes=given.processes,
        steps=given.steps,
        tokens=given.tokens,
        under=given.under,
        micro=given.micro or recipe.training.gradient_accumulation_steps,
        size=given.size or recipe.training.per_device_train_batch_size,
        limit=given.limit,
        padding=given.padding,
        recipe=recipe,
    )


def training_of(given: SeveralSpec, folder: Path, model: str) -> TrainSpec:
    """The training that every way does. folder: the model's snapshot."""
    on_cuda = given.device == "cuda"
    data = "catalogue"
    if given.tokens:
        (side,) = sides_for(folder, given.tokens, 1, size=given.size, recipe=given.recipe)
        data = f"catalogue@{side}"
    return TrainSpec(
        snapshot=str(folder),
        model=model,
        data=data,
        recipe=given.recipe,
        device=given.device,
        quantisation=quantisation_mode(given.device),
        dtype="bfloat16" if on_cuda else "float32",
        max_steps=given.steps,
        micro_batch=given.size,
        accumulation=given.micro,
        learning_rate=given.recipe.training.learning_rate,
        family=of_snapshot(folder),
        threads=8 if on_cuda else 1,
        # No way shall lose time with a state.
        save_every=given.steps + 1,
        rows=given.steps * given.micro * given.size,
        dropout=False,
        way=given.under,
        padding=given.padding,
    )


def planned(given: SeveralSpec) -> list[str]:
    """The ways of a call: those named, else all that this execution can have."""
    unknown = sorted(set(given.ways) - set(WAYS))
    if unknown:
        raise BadInput(f"There is no way {unknown[0]!r}; choose from {', '.join(WAYS)}.")
    if given.ways:
        return [way for way in WAYS if way in given.ways]
    packed = not given.under or variant(given.under).unpacked == "no"
    can = [way for way in WAYS if packed or "--use_fsdp" not in WAYS[way]]
    return [way for way in can if given.size > 1 or way not in SPLIT]


def count_of(given: SeveralSpec) -> int:
    """How many processes the ways with several have. Raises NotRunnable, BadInput."""
    import torch

    cards = torch.cuda.device_count() if given.device == "cuda" else 2
    if cards < 2:
        raise NotRunnable(
            f"Several GPUs are needed, here is {cards}; run it where there are two or more, or "
            "pass --device cpu --model stand-in to try it with two CPU processes."
        )
    count = int(given.processes or cards)
    if count < 2 or (given.device == "cuda" and count > cards):
        raise BadInput(f"--processes {count} cannot be had; give 2 to {cards}.")
    return count


def run(given: SeveralSpec) -> int:
    """Measure the ways that have no file yet, then compare. 0 all measured, 3 one is missing."""
    wanted = planned(given)
    count = count_of(given)
    if given.micro % count:
        raise BadInput(f"--micro {given.micro} cannot be shared by {count} processes.")
    source = resolve(given.model)
    free(given.device)  # of what drawing random weights left on the first card
    shared = training_of(given, source.snapshot, source.name)
    ways: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        path, folder = given.out / f"{way}.json", given.out / "runs" / way
        processes = count if WAYS[way] else 1
        if way not in wanted and not path.is_file():
            continue
        spec = of_way(way, shared, count)
        if not path.is_file():
            trouble = launched(way, spec, processes, folder, given.limit)
            if trouble:
                _failed(way, spec, folder, path, trouble)
                continue
            write_sealed(path, measured(way, spec, processes, folder))
            speed = read_sealed(path, MEND)["samples_per_second"]
            print(f"{way}: {speed:.2f} samples/s", flush=True)
        if path.is_file():
            ways[way] = read_sealed(path, MEND)
            if ways[way]["spec_digest"] != spec.digest or ways[way]["processes"] != processes:
                raise BadInput(f"{path} was measured with other settings; give another --out.")
    if not set(wanted) <= set(ways):
        return 3
    if ONE in ways and len(ways) > 1:
        record = compared(shared, ways, given.out)
        write_sealed(given.out / "several.json", record)
        for way, distance in record["against_one"].items():
            print(f"{way}: {distance}", flush=True)
    return 0


def of_way(way: str, spec: TrainSpec, count: int) -> TrainSpec:
    """What a way trains: so many times the samples a step, the same in smaller micro-batches, or
    the very same. Raises BadInput where a micro-batch cannot be cut."""
    if way in SPLIT:
        if spec.micro_batch % count:
            raise BadInput(f"--size {spec.micro_batch} cannot be cut among {count} processes.")
        smaller = spec.micro_batch // count
        return replace(spec, micro_batch=smaller, accumulation=spec.accumulation * count)
    if way not in WEAK:
        return spec
    rows = None if spec.rows is None else spec.rows * count
    return replace(spec, accumulation=spec.accumulation * count, rows=rows)


def _failed(way: str, spec: TrainSpec, folder: Path, path: Path, trouble: str) -> None:
    """A file and a line for a way that did not end."""
    memory = folder / "run" / RECORD
    facts = {"schema": SCHEMA, "way": way, "spec_digest": spec.digest}
    if memory.is_file():
        lack = read_json(memory)
        write_sealed(path.with_suffix(".out_of_memory.json"), {**facts, **lack})
        print(f"{way}: {lack['sentence']}", flush=True)
    else:
        write_sealed(path.with_suffix(".broken.json"), {**facts, "message": trouble})
        print(f"{way}: broken\n{quoted(trouble)}", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """One sentence and its exit code for what the user got wrong. Ended by a signal it ends what it
    launched: those are sessions of their own, and would go on beside the next call's."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return run(spec_of(words))
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
