"""What all sides of a contest start from: the same batches, the same adapter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measuring.models import canonical_name, of
from harness.measuring.snapshots.random_weights import seed_of
from harness.recipe.published import Recipe

FILE = "batches.safetensors"
SEED = 42
# Seconds that the batches may take to be made.
PATIENCE = 300.0


@dataclass(frozen=True)
class Spec:
    """What one side's process is told. way: a variant, a peer or `trainer`. folder: where the
    batches lie and its tensors go. micro: batches a step. size: samples a batch. sets: steps'
    worth of different batches, taken in turn. steps: at most so many. recipe: whose step."""

    way: str
    snapshot: Path
    device: str
    folder: Path
    tokens: int
    micro: int
    size: int
    sets: int
    steps: int
    recipe: Recipe

    def taken(self, batches: Sequence[dict[str, Any]], step: int) -> list[Any]:
        """The micro-batches of a step."""
        first = (step % self.sets) * self.micro
        return list(batches[first : first + self.micro])


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """What a side's process reads back by `build`."""
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(spec).items()}


def write_batches(folder: Path, batches: Sequence[dict[str, Any]]) -> None:
    """Collated batches as one file; on the CPU."""
    from safetensors.torch import save_file

    tensors = {
        f"{number:04d}/{name}": value.contiguous()
        for number, batch in enumerate(batches)
        for name, value in batch.items()
    }
    half = folder / f"{FILE}.part"
    save_file(tensors, str(half))
    half.replace(folder / FILE)


def read_batches(folder: Path, *, pinned: bool) -> list[dict[str, Any]]:
    """The batches in order, in pinned memory where they go to a card; waits for them.

    Raises HarnessError where they never come.
    """
    from safetensors.torch import load_file

    until = time.monotonic() + PATIENCE
    while not (folder / FILE).is_file():
        if time.monotonic() > until:
            raise HarnessError(f"no batches came to {folder} in {PATIENCE:.0f} s")
        time.sleep(0.2)

    by_number: dict[str, dict[str, Any]] = {}
    for key, value in load_file(str(folder / FILE)).items():
        number, name = key.split("/")
        by_number.setdefault(number, {})[name] = value.pin_memory() if pinned else value
    return [by_number[number] for number in sorted(by_number)]


def same_start_(model: Any) -> dict[str, Any]:
    """Give every LoRA tensor the contest's start, whatever drew it; the start, on the CPU.

    A is uniform within one over the square root of its input, peft's own bound; B is zero. Drawn
    by canonical name, so that no order matters.
    """
    import torch

    start = {}
    loader = of(model)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        canonical = canonical_name(name, loader)
        values = torch.zeros(parameter.shape)
        if "lora_A" in canonical:
            generator = torch.Generator().manual_seed(seed_of(canonical, SEED))
            bound = parameter.shape[-1] ** -0.5
            values.uniform_(-bound, bound, generator=generator)
        parameter.data.copy_(values.to(parameter.dtype))
        start[canonical] = values
    return start
