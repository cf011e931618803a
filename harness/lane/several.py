"""One process, data parallel, FSDP with 4-bit storage: `python -m harness.lane.several --out DIR`.

The same few steps on the same global batch, dropout off, each way in processes of its own. Every
way leaves `<way>.json`, so that an interrupted call goes on with the next one; when all are there
`several.json` compares them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.capacity import RECORD
from harness.environment import device_key, snapshot
from harness.errors import BadInput, HarnessError, NotRunnable
from harness.lane.bench import free
from harness.lane.cases import COSINE, LOSS_BAND, WARM_UP, lora_cosine
from harness.models.qwen2_vl import quantisation_mode
from harness.recipe import REFERENCE
from harness.record import read_json, write_json
from harness.source import resolve
from harness.train_spec import TrainSpec

SCHEMA = 1
ONE = "one"
# accelerate's flags by way.
WAYS: Mapping[str, tuple[str, ...]] = {
    ONE: (),
    "data_parallel": ("--multi_gpu",),
    "fsdp": ("--use_fsdp",),
}
ROOT = Path(__file__).resolve().parents[2]
TAIL = 4000


def parser() -> argparse.ArgumentParser:
    """Defaults are the recipe's batch over a few steps."""
    made = argparse.ArgumentParser(prog="python -m harness.lane.several", description=__doc__)
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
        recipe=REFERENCE.name,
        device=given.device,
        quantisation=quantisation_mode(given.device),
        dtype="bfloat16" if on_cuda else "float32",
        max_steps=given.steps,
        micro_batch=given.size,
        accumulation=given.micro,
        learning_rate=REFERENCE.training.learning_rate,
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


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def command(way: str, count: int, words: Sequence[str]) -> list[str]:
    """The processes of a way, as a command line."""
    launcher = [
        "-m", "accelerate.commands.launch", *WAYS[way], "--num_processes", str(count),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", str(_free_port()),
    ]  # fmt: skip
    run = ["-m", "harness.lane.several_run", *words]
    return [sys.executable, *(launcher if WAYS[way] else []), *run]


def environment(way: str, device: str) -> dict[str, str]:
    """The children's environment: our modules, their GPUs, no hub."""
    made = {k: v for k, v in os.environ.items() if k not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}}
    made |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if device == "cpu":
        # The launcher's --cpu starts one process only; so they all meet over gloo.
        made |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    elif way == ONE:
        made["CUDA_VISIBLE_DEVICES"] = made.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    # Cards that are lent without their switch have no NVLink multicast, and NCCL then stops.
    made.setdefault("NCCL_NVLS_ENABLE", "0")
    return made


def launched(way: str, spec: TrainSpec, count: int, folder: Path, limit: float) -> str:
    """Run a way in its folder. "" when it ended well, else the end of what it said."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", asdict(spec))
    words = [str(folder / "spec.json"), str(folder / "run")]
    log = folder / "log.txt"
    with log.open("wb") as said:
        child = subprocess.Popen(
            command(way, count, words), cwd=ROOT, env=environment(way, spec.device),
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            # The launcher's own children too, whatever ended it.
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if code == 0:
        return ""
    tail = log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    return (f"stopped after {limit:.0f} s\n" if code == -1 else "") + tail


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
    from harness.collate import make_collator
    from harness.dataset import load_rows
    from harness.models import family
    from harness.probes.cost import lengths_of
    from harness.recipe import training_messages

    samples = spec.micro_batch * spec.accumulation
    rows = load_rows(spec.data, "train", limit=samples)
    collate = make_collator(family(spec.family).load_processor(Path(spec.snapshot)), REFERENCE)
    found = lengths_of(collate([training_messages(row, REFERENCE) for row in rows]))
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
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
