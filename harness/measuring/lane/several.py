"""One process, data parallel, FSDP with 4-bit storage: `harness lane several --out DIR`.

The same few steps on the same global batch, dropout off, each way in processes of its own. Every
way leaves `<way>.json`, so that an interrupted call goes on with the next one; when all are there
`several.json` compares them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError, NotRunnable
from harness.measuring.instruments.device import device_key
from harness.measuring.lane.bench import free
from harness.measuring.lane.cases import COSINE, LOSS_BAND, WARM_UP, lora_cosine
from harness.measuring.lane.launching import ONE, WAYS, launched
from harness.measuring.models import of_snapshot
from harness.measuring.snapshots.loading import load_processor, quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.measuring.training.capacity import RECORD
from harness.measuring.training.spec import TrainSpec
from harness.recipe.published import REFERENCE
from harness.records.files import read_json, write_json
from harness.records.machine import snapshot
from harness.records.printable import one_line

SCHEMA = 1


def parser() -> argparse.ArgumentParser:
    """Defaults are the recipe's batch over a few steps."""
    made = argparse.ArgumentParser(prog="harness lane several", description=__doc__)
    made.add_argument("ways", nargs="*", metavar="WAY", help=f"all of {', '.join(WAYS)}")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--processes", type=int, help="of the ways with several; default: all GPUs")
    made.add_argument("--steps", type=int, default=6)
    made.add_argument("--micro", type=int, default=REFERENCE.training.gradient_accumulation_steps)
    made.add_argument("--size", type=int, default=REFERENCE.training.per_device_train_batch_size)
    made.add_argument("--limit", type=float, default=290.0, help="seconds for one way")
    return made


def spec_of(given: argparse.Namespace, folder: Path, model: str) -> TrainSpec:
    """The training that every way does. folder: the model's snapshot."""
    on_cuda = given.device == "cuda"
    return TrainSpec(
        snapshot=str(folder),
        model=model,
        data="catalogue",
        recipe=REFERENCE,
        device=given.device,
        quantisation=quantisation_mode(given.device),
        dtype="bfloat16" if on_cuda else "float32",
        max_steps=given.steps,
        micro_batch=given.size,
        accumulation=given.micro,
        learning_rate=REFERENCE.training.learning_rate,
        family=of_snapshot(folder),
        threads=8 if on_cuda else 1,
        # Only one process could keep a state; no way shall lose time with it.
        save_every=given.steps + 1,
        rows=given.steps * given.micro * given.size,
        dropout=False,
    )


def count_of(given: argparse.Namespace) -> int:
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


def measured(way: str, spec: TrainSpec, count: int, folder: Path) -> dict[str, Any]:
    """What a finished way's files say."""
    run = read_json(folder / "run" / "run.json")
    meters = [read_json(folder / f"meters-{rank}.json") for rank in range(count)]
    # A step is over when the last process has ended it.
    seconds = [max(each) for each in zip(*(m["seconds"] for m in meters), strict=True)]
    timed = seconds[WARM_UP:] or seconds
    samples = spec.micro_batch * spec.accumulation
    return {
        "schema": SCHEMA,
        "way": way,
        "how": "measured",
        "spec_digest": spec.digest,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processes": count,
        "losses": [entry["loss"] for entry in run["curve"]],
        "targets": [entry["targets"] for entry in run["curve"]],
        "seconds": seconds,
        "samples_per_second": samples / statistics.median(timed),
        "per_process": meters,
        "notes": run["notes"],
        "frozen_unchanged": run["frozen_before"] == run["frozen_after"],
        "frozen": run["frozen_before"],
    }


def against(
    one: Mapping[str, Any], other: Mapping[str, Any], adapters: Sequence[Path]
) -> dict[str, Any]:
    """How far a way is from one process: losses per step, direction of LoRA after the last."""
    from safetensors.torch import load_file

    mine, theirs = (load_file(str(path / "adapter_model.safetensors")) for path in adapters)
    if mine.keys() != theirs.keys() or one["targets"] != other["targets"]:
        raise HarnessError(f"{other['way']} did not train what one process trained.")
    gaps = [abs(b / a - 1) for a, b in zip(one["losses"], other["losses"], strict=True)]
    cosine = lora_cosine(mine, theirs)
    return {
        "loss_gaps": gaps,
        "loss_gap": max(gaps),
        "cosine": cosine,
        "cosine_b": lora_cosine(mine, theirs, part="lora_B"),
        "speed_over_one": other["samples_per_second"] / one["samples_per_second"],
        "same_frozen_weights": one["frozen"] == other["frozen"],
        "equal": max(gaps) <= LOSS_BAND and cosine >= COSINE,
    }


def batch_of(spec: TrainSpec) -> dict[str, float]:
    """Lengths of the first step's samples, on average."""
    from harness.data.dataset import load_rows
    from harness.measuring.instruments.work import lengths_of
    from harness.measuring.models import family
    from harness.measuring.training.collate import make_collator
    from harness.recipe.published import training_messages

    samples = spec.micro_batch * spec.accumulation
    rows = load_rows(spec.data, "train", limit=samples)
    loader = family(spec.family)
    collate = make_collator(load_processor(Path(spec.snapshot)), spec.recipe, loader)
    found = lengths_of(collate([training_messages(row, spec.recipe) for row in rows]), loader)
    return {
        "samples": samples,
        "tokens_per_sample": found.tokens / samples,
        "supervised_per_sample": found.trained / samples,
        "patches_per_sample": sum(found.patches) / samples,
    }


def compared(spec: TrainSpec, ways: Mapping[str, dict[str, Any]], out: Path) -> dict[str, Any]:
    """The record of all ways, with its provenance: the machine's own libraries."""
    here, batch = snapshot(), batch_of(spec)
    adapter = {way: out / "runs" / way / "run" / "adapter" for way in ways}
    return {
        "schema": SCHEMA,
        "case": "several",
        "tokens": round(batch["tokens_per_sample"]),
        "model": spec.model,
        "device_key": device_key(spec.device),
        "devices": [m["device"] for m in ways["fsdp"]["per_process"]],
        "quantisation": spec.quantisation,
        "python": here.python,
        "platform": here.platform,
        "cpu": here.cpu,
        "versions": dict(here.versions),
        "commit": here.commit,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "how": "measured",
        "batch": batch,
        "spec": asdict(spec),
        "ways": dict(ways),
        "against_one": {
            way: against(ways[ONE], held, (adapter[ONE], adapter[way]))
            for way, held in ways.items()
            if way != ONE
        },
        "bands": {"loss_gap": LOSS_BAND, "cosine": COSINE},
    }


def run(given: argparse.Namespace) -> int:
    """Measure the ways that have no file yet, then compare. 0 all measured, 3 one is missing."""
    unknown = sorted(set(given.ways) - set(WAYS))
    if unknown:
        raise BadInput(f"There is no way {unknown[0]!r}; choose from {', '.join(WAYS)}.")
    count = count_of(given)
    if given.micro % count:
        raise BadInput(f"--micro {given.micro} cannot be shared by {count} processes.")
    source = resolve(given.model)
    free(given.device)  # of what drawing random weights left on the first card
    spec = spec_of(given, source.snapshot, source.name)
    ways: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        path, folder = given.out / f"{way}.json", given.out / "runs" / way
        processes = count if WAYS[way] else 1
        if not path.is_file() and (not given.ways or way in given.ways):
            said = launched(way, spec, processes, folder, given.limit)
            if said:
                _failed(way, spec, folder, path, said)
                continue
            write_json(path, measured(way, spec, processes, folder))
            print(f"{way}: {read_json(path)['samples_per_second']:.2f} samples/s", flush=True)
        if path.is_file():
            ways[way] = read_json(path)
            if ways[way]["spec_digest"] != spec.digest or ways[way]["processes"] != processes:
                raise BadInput(f"{path} was measured with other settings; give another --out.")
    if set(ways) != set(WAYS):
        return 0 if given.ways and set(given.ways) <= set(ways) else 3
    record = compared(spec, ways, given.out)
    write_json(given.out / "several.json", record)
    for way, found in record["against_one"].items():
        print(f"{way}: loss gap {found['loss_gap']:.1e}, LoRA's cosine {found['cosine']:.6f}")
    return 0


def _failed(way: str, spec: TrainSpec, folder: Path, path: Path, said: str) -> None:
    """A file and a line for a way that did not end."""
    memory = folder / "run" / RECORD
    facts = {"schema": SCHEMA, "way": way, "spec_digest": spec.digest}
    if memory.is_file():
        found = read_json(memory)
        write_json(path.with_suffix(".out_of_memory.json"), {**facts, **found})
        print(f"{way}: {found['sentence']}", flush=True)
    else:
        write_json(path.with_suffix(".broken.json"), {**facts, "message": said})
        print(f"{way}: broken\n{said}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """One sentence and its exit code for what the user got wrong."""
    try:
        return run(parser().parse_args(arguments))
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
