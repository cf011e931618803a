"""Train a spec and leave LoRA's gradients of every step: run by accelerate in test_processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.processes import here
from harness.record import read_json
from harness.sharded import whole
from harness.train import train
from harness.train_spec import TrainSpec


def dump(folder: Path) -> Any:
    """A callback that keeps the averaged, clipped gradients just before the optimizer steps."""
    from safetensors.torch import save_file
    from transformers import TrainerCallback

    class Dump(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **held: Any) -> None:
            named = held["model"].named_parameters()
            kept = {
                name.removeprefix("module."): whole(p.grad.detach()).float().cpu().contiguous()
                for name, p in named
                if p.requires_grad
            }
            folder.mkdir(parents=True, exist_ok=True)
            save_file(kept, str(folder / f"{state.global_step}-{here().rank}.safetensors"))

    return Dump()


def main() -> int:
    """SPEC FOLDER GRADIENTS."""
    spec, folder, gradients = sys.argv[1:]
    crew = here()
    try:
        train(
            TrainSpec(**read_json(Path(spec))["spec"]), Path(folder),
            callbacks=[dump(Path(gradients))],
        )  # fmt: skip
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    finally:
        crew.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
