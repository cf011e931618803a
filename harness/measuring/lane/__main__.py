"""`harness lane measure CASE… --out DIR`: measure cases of the CUDA lane, one file each."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, HarnessError
from harness.measuring.lane.bench import Lane, free
from harness.measuring.lane.cases import loaded_bytes, pair, through_trainer, throughput
from harness.measuring.lane.loading import LOADINGS, loading
from harness.measuring.lane.oom import explained, refuse
from harness.measuring.lane.provenance import provenance, recipe_facts
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.words import recipe_options
from harness.measuring.snapshots.loading import quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.recipe import published
from harness.recipe.ways import VARIANTS
from harness.records.printable import one_line, quoted
from harness.records.recipes import PUBLISHED, recipe_called
from harness.records.seals import read_sealed, write_sealed

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


@dataclass(frozen=True)
class MeasureSpec:
    """What a call measures. cases: (name, tokens per sample). pairs: steps that are compared.
    micro: batches per optimizer step. size: samples per batch."""

    cases: tuple[tuple[str, int], ...]
    out: Path
    model: str
    device: str
    pairs: int
    micro: int
    size: int
    recipe: published.Recipe


def spec_of(words: Sequence[str] | None = None) -> MeasureSpec:
    """`CASE[@TOKENS]…` and options, None: the process's own. Raises BadInput for an unknown case.

    800 tokens per sample unless given.
    """
    parser = argparse.ArgumentParser(prog="harness lane measure", description=__doc__)
    parser.add_argument("cases", nargs="+", metavar="CASE[@TOKENS]", help=", ".join(CASES))
    parser.add_argument("--out", type=Path, required=True, help="one JSON file per case goes here")
    parser.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pairs", type=int, default=20)
    recipe_options(parser)
    given = parser.parse_args(words)
    recipe = published.variant(given.recipe)
    return MeasureSpec(
        cases=tuple(_case(word) for word in given.cases),
        out=given.out,
        model=given.model,
        device=given.device,
        pairs=given.pairs,
        micro=given.micro or recipe.training.gradient_accumulation_steps,
        size=given.size or recipe.training.per_device_train_batch_size,
        recipe=recipe,
    )


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
        facts = {"schema": SCHEMA, "case": name, "tokens": tokens}
        path = out / f"{name}-{tokens}.not_run.json"
        write_sealed(path, {**facts, "status": "NOT_RUN", "reason": reason})
        print(f"{name}@{tokens}: NOT_RUN: {one_line(reason)}", file=sys.stderr)
    return 3


def _measured(path: Path, recipe: published.Recipe) -> bool:
    """Whether a case has its file already. Raises BadInput where it is of another recipe."""
    if not path.is_file():
        return False
    wanted = recipe_facts(recipe)["recipe_digest"]
    theirs = read_sealed(path, "delete it and measure again").get("recipe_digest", PUBLISHED)
    if theirs != wanted:
        raise BadInput(
            f"{path} was measured with the recipe {recipe_called(theirs)}, not {recipe.name}; "
            "give another --out."
        )
    return True


def run(spec: MeasureSpec) -> int:
    """Measure what has no file yet. 0 all measured, 3 a case could not run."""
    import torch

    if spec.device.startswith("cuda") and not torch.cuda.is_available():
        return _not_run(spec.out, spec.cases, NO_CUDA)
    source = resolve(spec.model)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    shelf = Shelf(source.snapshot, spec.device, quantisation_mode(spec.device))
    lane = Lane(shelf, pairs=spec.pairs, micro=spec.micro, size=spec.size, recipe=spec.recipe)
    code = 0
    for name, tokens in spec.cases:
        path = spec.out / f"{name}-{tokens}.json"
        if _measured(path, spec.recipe):
            continue
        begin = time.monotonic()
        facts = {
            "schema": SCHEMA,
            "case": name,
            "tokens": tokens,
            **provenance(source.name, lane.device, lane.quantisation, lane.recipe),
        }
        try:
            refuse(lane, name, tokens)
            result = CASES[name](lane, tokens)
            write_sealed(path, {**facts, **result})
        except HarnessError as error:
            code = _not_run(spec.out, [(name, tokens)], str(error))
        except torch.cuda.OutOfMemoryError as error:
            memory = explained(lane, name, tokens, error)
            write_sealed(path.with_suffix(".out_of_memory.json"), {**facts, **memory})
            print(f"{name}@{tokens}: {memory['sentence']}", flush=True)
            code = 3
        except Exception as error:  # noqa: BLE001 - one broken case must not cost the others
            trace = traceback.format_exc()
            broken = {"type": type(error).__name__, "message": str(error), "traceback": trace}
            write_sealed(path.with_suffix(".broken.json"), {**facts, **broken})
            print(f"{name}@{tokens}: broken\n{quoted(trace)}", flush=True)
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
    shown = {k: result[k] for k in keys if k in result}
    if "changed" in result:
        shown |= {k: [result[side][k] for side in ("recipe", "changed")] for k in keys[:3]}
    return str(shown)


def main() -> int:
    """One sentence and its exit code for what the user got wrong."""
    try:
        return run(spec_of())
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
