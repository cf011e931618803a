"""What trainings by one process and by several left, side by side: the lane's record of it."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measuring.instruments.device import device_key
from harness.measuring.lane.cases import COSINE, LOSS_BAND, lora_cosine
from harness.measuring.lane.launching import ONE, WEAK
from harness.measuring.lane.provenance import recipe_facts
from harness.measuring.training.spec import TrainSpec
from harness.records.files import read_json
from harness.records.machine import snapshot

SCHEMA = 2
# Steps before those that count: memory, libraries' first calls, compilation.
WARM_UP = 3
# Gradient norms of one step: relative.
NORM_BAND = 0.01


def measured(way: str, spec: TrainSpec, count: int, folder: Path) -> dict[str, Any]:
    """What a finished way's files say."""
    run = read_json(folder / "run" / "run.json")
    meters = [read_json(folder / f"meters-{rank}.json") for rank in range(count)]
    # A step is over when the last process has ended it.
    seconds = [max(each) for each in zip(*(m["seconds"] for m in meters), strict=True)]
    anew = compiled_anew([m["graphs"] for m in meters])
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
        "compiled_anew": anew,
        "samples_per_second": samples / statistics.median(timed(seconds, anew)),
        "per_process": meters,
        "norms": [entry["grad_norm"] for entry in run["log"] if "grad_norm" in entry],
        "communication": [m["communication"] for m in meters],
        "applied": run.get("way"),
        "notes": run["notes"],
        "frozen_unchanged": run["frozen_before"] == run["frozen_after"],
        "frozen": run["frozen_before"],
    }


def compiled_anew(graphs: Sequence[Sequence[int]]) -> list[int]:
    """Steps after the first, from 0, in which a process compiled. graphs: of each process, how many
    it had by the end of each step. A micro-batch without any padding has no mask, and compiled
    layers are compiled for that once, whenever it comes."""
    return [
        step
        for step in range(1, len(graphs[0]))
        if any(process[step] > process[step - 1] for process in graphs)
    ]


def timed(seconds: Sequence[float], anew: Sequence[int]) -> list[float]:
    """Those that count: after the warm-up, not the profiled last one, none that compiled; all where
    none is left."""
    chosen = [
        each for step, each in enumerate(seconds[:-1]) if step >= WARM_UP and step not in set(anew)
    ]
    return chosen or list(seconds)


def against(
    one: Mapping[str, Any], other: Mapping[str, Any], adapters: Sequence[Path]
) -> dict[str, Any]:
    """How far a way is from one process: losses and gradient norms per step, direction of LoRA
    after the last. With more samples a step than one process had, only how fast and how large."""
    efficiency = _speed(other) / _speed(one) / other["processes"]
    sizes = {
        "speed_over_one": _speed(other) / _speed(one),
        "efficiency": efficiency,
        "peak_over_one": _peak(other) / _peak(one) if _peak(one) else None,
        "same_frozen_weights": one["frozen"] == other["frozen"],
    }
    if other["way"] in WEAK:
        return sizes
    from safetensors.torch import load_file

    mine, theirs = (load_file(str(path / "adapter_model.safetensors")) for path in adapters)
    if mine.keys() != theirs.keys() or one["targets"] != other["targets"]:
        raise HarnessError(f"{other['way']} did not train what one process trained.")
    gaps = [abs(b / a - 1) for a, b in zip(one["losses"], other["losses"], strict=True)]
    norms = [abs(b / a - 1) for a, b in zip(one["norms"], other["norms"], strict=True)]
    cosine = lora_cosine(mine, theirs)
    alike = max(gaps) <= LOSS_BAND and cosine >= COSINE and max(norms) <= NORM_BAND
    return {
        "loss_gaps": gaps,
        "loss_gap": max(gaps),
        "norm_gaps": norms,
        "norm_gap": max(norms),
        "cosine": cosine,
        "cosine_b": lora_cosine(mine, theirs, part="lora_B"),
        **sizes,
        "equal": alike,
    }


def _speed(way: Mapping[str, Any]) -> float:
    return float(way["samples_per_second"])


def _peak(way: Mapping[str, Any]) -> int:
    """Bytes allocated at most while training, of the process with most; 0 on a CPU."""
    memories = [m["training"] for m in way["per_process"] if m["training"]]
    return max((int(memory["peak_allocated"]) for memory in memories), default=0)


def batch_of(spec: TrainSpec) -> dict[str, float]:
    """Lengths of the first step's samples, on average."""
    from harness.data.dataset import rows_of
    from harness.measuring.instruments.work import lengths_of
    from harness.measuring.models import family
    from harness.measuring.snapshots.loading import load_processor
    from harness.measuring.training.collate import make_collator
    from harness.recipe.published import training_messages

    samples = spec.micro_batch * spec.accumulation
    rows = rows_of(spec, "train", limit=samples)
    loader = family(spec.family)
    collate = make_collator(load_processor(Path(spec.snapshot)), spec.recipe, loader)
    lengths = lengths_of(collate([training_messages(row, spec.recipe) for row in rows]), loader)
    return {
        "samples": samples,
        "tokens_per_sample": lengths.tokens / samples,
        "supervised_per_sample": lengths.trained / samples,
        "patches_per_sample": sum(lengths.patches) / samples,
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
        "devices": [
            m["device"]
            for m in max(ways.values(), key=lambda way: int(way["processes"]))["per_process"]
        ],
        "quantisation": spec.quantisation,
        **recipe_facts(spec.recipe),
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
            way: against(ways[ONE], record, (adapter[ONE], adapter[way]))
            for way, record in ways.items()
            if way != ONE
        },
        "under": spec.way,
        "warm_up": WARM_UP,
        "bands": {"loss_gap": LOSS_BAND, "cosine": COSINE, "norm_gap": NORM_BAND},
    }
