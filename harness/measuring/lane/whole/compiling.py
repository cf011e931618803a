"""A way is compiled by a process beside its training, which goes on eagerly until that is through.

`torch.compile` keeps what it made on disk, by the graph. One decoder layer and one tower block
have the graphs of all, so a process with a model of one each fills that cache, and the training
then finds everything there: its own first compiled step only traces. That process
(`python -m harness.measuring.lane.whole.compiling SPEC.json`) loads the model too, and its memory
stands in the record beside the training's.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.measuring.instruments.meters import cuda_memory
from harness.measuring.lane import step as steps
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.whole.clock import WholeSpec
from harness.measuring.lane.whole.rows import Batches, conversation
from harness.measuring.lane.workload import sides_for
from harness.measuring.models import parts
from harness.measuring.snapshots.loading import quantisation_mode
from harness.recipe.published import REFERENCE
from harness.recipe.ways import variant
from harness.records.files import read_json, write_json
from harness.records.folders import import_root

LEFT, SAID = ".left.json", ".txt"


@dataclass(frozen=True)
class Compiled:
    """What is compiled: a way, for samples of so many tokens of a snapshot, on a device."""

    way: str
    snapshot: str
    device: str
    tokens: int


@dataclass
class Beside:
    """The process that compiles; until it has ended the training's steps are eager.

    left: what it wrote when it was through: seconds since it began, bytes allocated at most on the
    device; None where it failed or was not awaited. The training then compiles for itself.
    """

    child: subprocess.Popen[bytes]
    path: Path
    left: dict[str, float] | None = None

    def taken_over(self) -> bool:
        """Whether it has ended; what is compiled runs compiled from then on."""
        if self.child.poll() is None:
            return False
        take_over()
        if self.child.returncode == 0:
            self.left = read_json(self.path.with_suffix(LEFT))
        return True

    @property
    def said(self) -> str:
        """What it printed."""
        return self.path.with_suffix(SAID).read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def beside(spec: WholeSpec) -> Iterator[Beside | None]:
    """Start it, and have everything compiled run eagerly in this process; ended with the block.

    None where nobody asked, where the way compiles nothing, or where this torch has no word for
    that (before 2.6).
    """
    import torch

    kind = variant(spec.way)
    if not (spec.beside and kind.compiled and hasattr(torch.compiler, "set_stance")):
        yield None
        return
    path = spec.folder / "compiled.json"
    write_json(path, asdict(Compiled(spec.way, str(spec.snapshot), spec.device, spec.tokens)))
    torch.compiler.set_stance("force_eager")
    places = [str(import_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
    with path.with_suffix(SAID).open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "harness.measuring.lane.whole.compiling", str(path)],
            cwd=import_root(),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Beside(child, path)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        take_over()


def compilation(before: Mapping[str, int] | None = None) -> dict[str, int]:
    """What torch.compile did in this process: graphs traced, and of them those whose code was in
    its cache (torch/_dynamo/utils.py, counters). before: what it had done already, left out."""
    from torch._dynamo.utils import counters

    done = {
        "graphs": counters["stats"]["unique_graphs"],
        "from_cache": counters["aot_autograd"]["autograd_cache_hit"],
    }
    return {name: number - (before or {}).get(name, 0) for name, number in done.items()}


def take_over() -> None:
    """From now on what is compiled runs compiled."""
    import torch

    torch.compiler.set_stance("default")


def eagerly(prepared: steps.Prepared) -> steps.Prepared:
    """The same step a micro-batch at a time: eager activations of more would not fit."""
    return replace(prepared, variant=replace(prepared.variant, rows=0))


def of_one_each(model: Any) -> Any:
    """A model cut to its first decoder layer and its first tower block."""
    import torch

    several = [parts(model).layers, parts(model).blocks]
    firsts = {id(modules[0]) for modules in several if len(modules) > 1}
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and module and id(module[0]) in firsts:
            del module[1:]
    return model


def fill(asked: Compiled) -> None:
    """Take one step of the way on a model of one layer, with as many samples as it joins: lengths
    are symbols in what is compiled."""
    kind, training = variant(asked.way), REFERENCE.training
    snapshot, size = Path(asked.snapshot), training.per_device_train_batch_size
    model = of_one_each(Shelf(snapshot, asked.device, quantisation_mode(asked.device)).model)
    prepared = steps.prepare(kind, model, asked.device, recipe=REFERENCE)
    side = sides_for(snapshot, asked.tokens, 1, size=1, recipe=REFERENCE)[0]
    rows = [conversation((number, side, REFERENCE)) for number in range(max(size, kind.rows))]
    batches = Batches(snapshot, rows, REFERENCE, kind.unmasked)
    numbers = range(len(rows))
    micro = [batches(numbers[first : first + size]) for first in range(0, len(rows), size)]
    steps.step(prepared, micro)


def start_compiler() -> None:
    """torch.compile's processes start and import while the model is loaded: a wait less later."""

    def start() -> None:
        importlib.import_module("torch._inductor.compile_fx")  # seconds, else the first step's
        from torch._inductor.async_compile import maybe_warm_pool

        maybe_warm_pool()

    threading.Thread(target=start, daemon=True).start()


def main(words: list[str]) -> int:
    """Of one specification; what it took stands beside it."""
    began, path = time.time(), Path(words[0])
    asked = Compiled(**read_json(path))
    start_compiler()
    fill(asked)
    on_cuda = asked.device.startswith("cuda")
    peak = cuda_memory(asked.device).allocated if on_cuda else 0
    write_json(path.with_suffix(LEFT), {"seconds": time.time() - began, "peak": peak})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
