"""`harness lane whole WAY --out FILE`: a training from a cold start, every phase timed."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.measuring.instruments.meters import cuda_memory, peak_rss_bytes
from harness.measuring.lane.provenance import provenance
from harness.measuring.lane.whole import by_trainer, ours
from harness.measuring.lane.whole.clock import Clock, WholeSpec
from harness.measuring.lane.whole.rows import conversations
from harness.measuring.snapshots.loading import quantisation_mode
from harness.measuring.snapshots.source import resolve
from harness.recipe.published import REFERENCE
from harness.recipe.ways import VARIANTS
from harness.records.printable import one_line
from harness.records.seals import write_sealed

SCHEMA = 1
TRAINER = "trainer"
# What either side needs; the trainer needs one more.
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Given:
    """The options, as their help has them."""

    way: str
    out: Path
    model: str
    device: str
    tokens: int
    rows: int
    steps: int
    later: int
    processes: int


def given_of(words: Sequence[str] | None) -> Given:
    """The options. Raises BadInput for an unknown way."""
    options = argparse.ArgumentParser(prog="harness lane whole", description=__doc__)
    options.add_argument("way", help="a variant, or `trainer`: SFTTrainer as installed")
    options.add_argument("--out", type=Path, required=True, help="the record's file")
    options.add_argument("--model", default=os.environ.get("HARNESS_MODEL") or "random-7b")
    options.add_argument("--device", default="cuda")
    options.add_argument("--tokens", type=int, default=800)
    options.add_argument("--rows", type=int, default=1345, help="of the data, as the recipe has")
    options.add_argument("--steps", type=int, default=0, help="of the first epoch, 0: all of it")
    options.add_argument("--later", type=int, default=10, help="steps of the second epoch")
    options.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 4))
    given = Given(**vars(options.parse_args(words)))
    if given.way not in {*VARIANTS, TRAINER}:
        raise BadInput(f"There is no way {given.way!r}; choose from {', '.join(VARIANTS)}.")
    return given


def spec_of(given: Given, folder: Path) -> tuple[WholeSpec, Path, str]:
    """The spec, the record's file and the model's name."""
    source = resolve(given.model)
    spec = WholeSpec(
        given.way,
        source.snapshot,
        given.device,
        given.tokens,
        given.rows,
        given.steps,
        given.later,
        given.processes,
        folder,
        REFERENCE,
    )
    return spec, given.out, source.name


def run(words: Sequence[str] | None = None) -> int:
    """Train and write the record. Importing counts, making the rows does not."""
    given = given_of(words)  # wrong words are refused before a library says a word of its own
    began = time.time()
    for library in (*LIBRARIES, *(["trl"] if given.way == TRAINER else [])):
        importlib.import_module(library)
    imported = time.time() - began
    with tempfile.TemporaryDirectory() as name:
        spec, out, model = spec_of(given, Path(name))
        rows = conversations(spec.snapshot, spec.tokens, spec.rows, spec.recipe, spec.processes)
        clock = Clock(time.time() - imported, lambda line: print(line, flush=True))
        clock.phase("libraries imported")
        (by_trainer if spec.way == TRAINER else ours).train(spec, rows, clock)
        on_cuda = spec.device.startswith("cuda")
        record = {
            "schema": SCHEMA,
            "case": "whole",
            "way": spec.way,
            "tokens": spec.tokens,
            "rows": spec.rows,
            "epochs": spec.recipe.training.num_train_epochs,
            "asked": {
                "steps": spec.steps,
                "later": spec.later,
                "processes": spec.processes,
            },
            **provenance(model, spec.device, quantisation_mode(spec.device), spec.recipe),
            "peak": cuda_memory(spec.device).allocated if on_cuda else 0,
            "host_peak": peak_rss_bytes(),
            **clock.record(),
        }
        write_sealed(out, record)
    return 0


def main() -> int:
    """One sentence and its exit code for what the user got wrong."""
    try:
        return run()
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
