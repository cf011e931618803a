"""What every side of a contest can do, and how its process answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.measuring.instruments.meters import cuda_memory
from harness.measuring.lane import meters
from harness.measuring.lane.contest.labels import Labels
from harness.measuring.lane.contest.start import Spec
from harness.measuring.models import canonical_name, of
from harness.records.steps import Step


class Contestant:
    """A side that steps when it is told to. start: LoRA's tensors before the first step, by
    canonical name. dtypes: what its modules give. facts: what was set up, in words."""

    spec: Spec
    model: Any
    what: str
    start: dict[str, Any]
    dtypes: dict[str, str]
    facts: dict[str, str]
    load_seconds: float
    labels: Labels
    # Where the gradients are not on the parameters any more.
    gradients: dict[str, Any] | None = None

    def step(self, number: int) -> tuple[Any, Any]:
        """One optimizer step: loss and gradient norm; the gradients stay until the next one."""
        raise NotImplementedError

    def trained(self) -> Iterator[tuple[str, Any]]:
        """LoRA's parameters by canonical name."""
        loader = of(self.model)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield canonical_name(name, loader), parameter

    def timed(self, number: int) -> Step:
        """One step, waited for."""
        took = meters.timed(lambda: self.step(number), self.spec.device)
        return Step(took.seconds, took.wall, took.peak, took.loss, took.norm, self.labels.total())


class Kept:
    """A side's gradients of every step and what its weights moved by, for the judging file."""

    def __init__(self, side: Contestant) -> None:
        self.side = side
        self.tensors: dict[str, Any] = {}

    def gradients(self, number: int) -> None:
        """Keep this step's, on the CPU, float32; absent ones are left out."""
        gradients = self.side.gradients
        if gradients is None:
            gradients = {n: p.grad for n, p in self.side.trained() if p.grad is not None}
        for name, gradient in gradients.items():
            self.tensors[f"{number:04d}/{name}"] = gradient.detach().float().cpu().clone()

    def write(self, path: Path) -> None:
        """Everything, and how far each weight is from its start."""
        from safetensors.torch import save_file

        for name, parameter in self.side.trained():
            moved = parameter.detach().float().cpu() - self.side.start[name]
            self.tensors[f"moved/{name}"] = moved.contiguous()
        save_file(self.tensors, str(path))


def reserved(device: str) -> int:
    """Bytes that the allocator took at most since its peak was last reset; 0 on a CPU."""
    return cuda_memory(device).reserved if device.startswith("cuda") else 0
