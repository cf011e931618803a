"""Train a spec in one process or several, and leave LoRA's gradients of every step.

`launched` runs this file by itself or under accelerate's launcher.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measuring.training.processes import here
from harness.measuring.training.run import train
from harness.measuring.training.sharded import held_bytes, whole
from harness.measuring.training.spec import TrainSpec, read_spec, spec_to_json
from harness.records.files import write_json


def dump(folder: Path) -> Any:
    """A callback that keeps the averaged, clipped gradients just before the optimizer steps, what
    each process holds, and how often the shares of each module were gathered in a step."""
    import torch
    from safetensors.torch import save_file
    from transformers import TrainerCallback

    class Dump(TrainerCallback):
        def __init__(self) -> None:
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

        def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == 0:
                self.profile.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step != 1:
                return
            self.profile.stop()
            # "FSDP::all_gather (module)": how often each share was gathered in the first step.
            events = self.profile.key_averages()
            gathered = {e.key: e.count for e in events if e.key.startswith("FSDP::all_gather (")}
            write_json(folder / f"gathered-{here().rank}.json", gathered)

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            named = rest["model"].named_parameters()
            kept = {
                name.removeprefix("module."): whole(p.grad.detach()).float().cpu().contiguous()
                for name, p in named
                if p.requires_grad
            }
            folder.mkdir(parents=True, exist_ok=True)
            save_file(kept, str(folder / f"{state.global_step}-{here().rank}.safetensors"))

        def on_train_end(self, *_: Any, **rest: Any) -> None:
            write_json(folder / f"held-{here().rank}.json", held_bytes(rest["model"]))

    return Dump()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


ROOT = Path(__file__).resolve().parent.parent


def launcher(count: int, flag: str) -> list[str]:
    """accelerate's command line up to what it shall run.

    With --cpu the launcher starts one process, whatever number it is given; --multi_gpu and
    --use_fsdp start them all, and ACCELERATE_USE_CPU has them meet over gloo.
    """
    words = ["-m", "accelerate.commands.launch", flag, "--num_processes", str(count)]
    words += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [*words, "--main_process_port", str(free_port())]


def environment() -> dict[str, str]:
    """Of training processes on a CPU."""
    return {
        **{k: v for k, v in os.environ.items() if k not in {"RANK", "WORLD_SIZE"}},
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
        # Where a GPU is seen, accelerate's sharded training on a CPU ends in a segmentation fault.
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }


def launched(
    count: int, spec: TrainSpec, folder: Path, flag: str = "--multi_gpu"
) -> subprocess.CompletedProcess[str]:
    """Run the training under accelerate's launcher, or plainly for one process."""
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", spec_to_json(spec))
    words = ["-m", "suites.two_processes"]
    words += [str(folder / name) for name in ("spec.json", "run", "gradients")]
    return subprocess.run(
        [sys.executable, *(launcher(count, flag) if count > 1 else []), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(),
    )


def main() -> int:
    """SPEC FOLDER GRADIENTS."""
    spec, folder, gradients = sys.argv[1:]
    crew = here()
    try:
        train(
            read_spec(Path(spec)),
            Path(folder),
            callbacks=[dump(Path(gradients))],
        )
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    finally:
        crew.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
