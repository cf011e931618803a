"""One way of training the same steps, metered: started by harness.measuring.lane.several.

Runs alone or under accelerate's launcher; each process leaves `meters-<rank>.json`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measuring.instruments.meters import reset_cuda_memory, synchronise
from harness.measuring.lane.meters import memory_now
from harness.measuring.training.processes import here
from harness.measuring.training.run import train
from harness.measuring.training.sharded import held_bytes
from harness.measuring.training.spec import read_spec
from harness.records.files import write_json
from harness.records.printable import one_line


def meter(device: str, path: Path, last: int) -> Any:
    """A callback that notes each step's wall time and, at the end, the peaks of all steps.

    last: the number of the last step, which is profiled: its time is no measure. Every step is
    logged, so that its gradient norm is.
    """
    from transformers import TrainerCallback

    class Meter(TrainerCallback):
        begun = 0.0

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.graphs: list[int] = []
            self.loading: dict[str, int] = {}
            self.profile: Any = None

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            synchronise(device)
            self.loading = memory_now(device)
            reset_cuda_memory(device)
            self.begun = time.perf_counter()

        def on_step_begin(self, args: Any, state: Any, control: Any, **__: Any) -> None:
            if state.global_step == last - 1 and device.startswith("cuda"):
                self.profile = profiler()
                self.profile.__enter__()

        def on_step_end(self, args: Any, state: Any, control: Any, **__: Any) -> Any:
            synchronise(device)
            now = time.perf_counter()
            self.seconds.append(now - self.begun)
            self.graphs.append(compiled_graphs())
            if self.profile is not None and state.global_step == last:
                self.profile.__exit__(None, None, None)
            self.begun = time.perf_counter()
            control.should_log = True
            return control

        def on_train_end(self, *_: Any, **given: Any) -> None:
            import torch

            on_cuda = device.startswith("cuda")
            facts = {
                "device": torch.cuda.get_device_name(device) if on_cuda else "cpu",
                "seconds": self.seconds,
                # Compiled by the end of each step, those before it counted.
                "graphs": self.graphs,
                # A CPU has no allocator that counts, and no kernels.
                "loading": self.loading or None,
                "training": memory_now(device) or None,
                "communication": communication(self.profile, self.seconds[-1]) if on_cuda else None,
                "parameter_bytes": held_bytes(given["model"]),
            }
            write_json(path, facts)

    return Meter()


def compiled_graphs() -> int:
    """How many graphs torch.compile has made in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def profiler() -> Any:
    """torch's, of kernels only."""
    import torch

    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])


def communication(profile: Any, seconds: float) -> dict[str, float]:
    """NCCL's kernels in one step: seconds, and as a share of the step's wall time.

    A kernel waits for the other processes, and may run beside others: the share is an upper bound
    of what communication costs.
    """
    spent = sum(
        event.self_device_time_total
        for event in profile.key_averages()
        if event.key.startswith("nccl")
    )
    return {"step_seconds": seconds, "nccl_seconds": spent / 1e6, "share": spent / 1e6 / seconds}


def main(arguments: list[str]) -> int:
    """Train SPEC in FOLDER with the meter on this process's device."""
    spec, folder, crew = read_spec(Path(arguments[0])), Path(arguments[1]), here()
    try:
        device = crew.part(spec).device
        path = folder.parent / f"meters-{crew.rank}.json"
        train(spec, folder, bar=False, callbacks=[meter(device, path, spec.max_steps)])
    except HarnessError as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        return error.exit_code
    finally:
        crew.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
