"""`harness lane measure CASE… --out DIR`: measure cases of the CUDA lane, one file each."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError
from harness.measuring.lane.bench import Lane, free
from harness.measuring.lane.cases import loaded_bytes, pair, through_trainer, throughput
from harness.measuring.lane.loading import LOADINGS, loading
from harness.measuring.lane.oom import explained, refuse
from harness.measuring.lane.provenance import provenance
from harness.measuring.lane.shelf import Shelf
from harness.measuring.snapshots.loading import quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.recipe.ways import VARIANTS
from harness.records.files import write_json
from harness.records.printable import one_line

SCHEMA = 1
NO_CUDA = (
    "There is no CUDA device here; run it on a machine with an NVIDIA GPU and driver, or pass "
    "--device cpu --model stand-in to try the lane out."
)
Case = Callable[[Lane, int], dict[str, Any]]
CASES: dict[str, Case] = {
    "footprint": loaded_bytes,
    "throughput": throughput,
    "trainer": through_trainer,
    **{name: pair(name) for name in VARIANTS if name != "recipe"},
    **{name: loading(name) for name in LOADINGS},
}


def parser() -> argparse.ArgumentParser:
    """`CASE[@TOKENS]`: 800 tokens per sample unless given."""
    made = argparse.ArgumentParser(prog="harness lane measure", description=__doc__)
    made.add_argument("cases", nargs="+", metavar="CASE[@TOKENS]", help=", ".join(CASES))
    made.add_argument("--out", type=Path, required=True, help="one JSON file per case goes here")
    made.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    made.add_argument("--device", default="cuda")
    made.add_argument("--pairs", type=int, default=20)
    made.add_argument("--micro", type=int, default=8, help="micro-batches per optimizer step")
    made.add_argument("--size", type=int, default=4, help="samples per micro-batch")
    return made


def _case(word: str) -> tuple[str, int]:
    name, _, tokens = word.partition("@")
    if name not in CASES:
        raise BadInput(f"There is no case {name!r}; choose from {', '.join(CASES)}.")
    if tokens and not tokens.isdigit():
        raise BadInput(f"{tokens!r} in {word} is no number of tokens.")
    return name, int(tokens or 800)


def _not_run(out: Path, wanted: Sequence[tuple[str, int]], reason: str) -> int:
    """A file and a line per case that this machine cannot measure."""
    for name, tokens in wanted:
        found = {"schema": SCHEMA, "case": name, "tokens": tokens}
        path = out / f"{name}-{tokens}.not_run.json"
        write_json(path, {**found, "status": "NOT_RUN", "reason": reason})
        print(f"{name}@{tokens}: NOT_RUN: {reason}", file=sys.stderr)
    return 3


def run(arguments: argparse.Namespace) -> int:
    """Measure what has no file yet. 0 all measured, 3 a case could not run."""
    import torch

    wanted = [_case(word) for word in arguments.cases]
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        return _not_run(arguments.out, wanted, NO_CUDA)
    source = resolve(arguments.model)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    shelf = Shelf(source.snapshot, arguments.device, quantisation_mode(arguments.device))
    lane = Lane(shelf, pairs=arguments.pairs, micro=arguments.micro, size=arguments.size)
    code = 0
    for name, tokens in wanted:
        path = arguments.out / f"{name}-{tokens}.json"
        if path.is_file():
            continue
        begin = time.monotonic()
        facts = {
            "schema": SCHEMA,
            "case": name,
            "tokens": tokens,
            **provenance(source.name, lane.device, lane.quantisation),
        }
        try:
            refuse(lane, name, tokens)
            result = CASES[name](lane, tokens)
            write_json(path, {**facts, **result})
        except HarnessError as error:
            code = _not_run(arguments.out, [(name, tokens)], str(error))
        except torch.cuda.OutOfMemoryError as error:
            found = explained(lane, name, tokens, error)
            write_json(path.with_suffix(".out_of_memory.json"), {**facts, **found})
            print(f"{name}@{tokens}: {found['sentence']}", flush=True)
            code = 3
        except Exception as error:  # noqa: BLE001 - one broken case must not cost the others
            said = traceback.format_exc()
            broken = {"type": type(error).__name__, "message": str(error), "traceback": said}
            write_json(path.with_suffix(".broken.json"), {**facts, **broken})
            print(f"{name}@{tokens}: broken\n{said}", flush=True)
            code = 3
        else:
            took = time.monotonic() - begin
            print(f"{name}@{tokens}: {took:.0f} s  {summary(result)}", flush=True)
        free(lane.device)
    return code


def summary(result: dict[str, Any]) -> str:
    """The few numbers that a person watching wants."""
    keys = (
        "seconds",
        "mfu",
        "hfu",
        "speed_up",
        "loss_gap",
        "cosine",
        "cosine_b",
        "safe",
        "peak",
        "total",
        "differing",
        "trainer_speed_over_bare",
        "end_to_end_seconds",
        "idle_share",
        "joules_per_sample",
        "matmul_rate",
        "samples_per_second",
    )
    held = {k: result[k] for k in keys if k in result}
    if "changed" in result:
        held |= {k: [result[side][k] for side in ("recipe", "changed")] for k in keys[:3]}
    return str(held)


def main() -> int:
    """One sentence and its exit code for what the user got wrong."""
    try:
        return run(parser().parse_args())
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
