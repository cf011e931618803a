"""The captured batches, handed from one stack's audit to another's: what then vanishes from a
comparison follows from the data, what stays is the model's or the Trainer's own.

`<out>/given/batches.safetensors` holds every tensor as `<batch>.<name>`, `<out>/given/index/` the
digest by which two stacks' batches are told apart; both as instruments/exchange.py lays them out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.measuring.audit.training import Batch
from harness.measuring.instruments.handed import read_handed, write_handed
from harness.records.context import Context
from harness.records.seals import write_sealed

# What a comparison calls them: their ids, pictures and labels together.
NAME = "batches"


def handed(context: Context, batches: Sequence[Batch]) -> list[Batch]:
    """The batches to audit: another stack's where the context gives them, else these, which are
    handed over where it asks for it.

    Raises BadInput where the other stack's batches are of another number.
    """
    if NAME in context.given:
        return _taken(context, batches)
    if context.exchange:
        tensors = _tensors(batches)
        folder = context.out / "given"
        index = {"schema": 1, "digests": {NAME: {NAME: _digest(tensors)}}}
        write_sealed(folder / "index" / f"{NAME}.json", index)
        if context.exchange == "keep":
            write_handed(folder / f"{NAME}.safetensors", tensors)
    return list(batches)


def given(context: Context) -> list[dict[str, Any]]:
    """Another stack's batches, on the CPU; none where the context gives none. Raises as
    read_handed."""
    if NAME not in context.given:
        return []
    tensors = read_handed(_file(context))
    by_batch: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        by_batch.setdefault(int(place), {})[key] = tensor
    return [by_batch[place] for place in sorted(by_batch)]


def _file(context: Context) -> Path:
    return Path(context.given[NAME]) / f"{NAME}.safetensors"


def _tensors(batches: Sequence[Batch]) -> dict[str, Any]:
    import torch

    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, batch in enumerate(batches)
        for name, value in batch.inputs.items()
        if isinstance(value, torch.Tensor)
    }


def _digest(tensors: Mapping[str, Any]) -> str:
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _taken(context: Context, batches: Sequence[Batch]) -> list[Batch]:
    others = given(context)
    if len(others) != len(batches):
        raise BadInput(
            f"{_file(context)} holds {len(others)} batches and this training has {len(batches)}; "
            "both stacks must take the same steps."
        )
    taken = []
    for other, batch in zip(others, batches, strict=True):
        device = batch.ids.device
        # What is no tensor cannot differ by a collator's arithmetic; it stays this stack's.
        rest = {k: v for k, v in batch.inputs.items() if not hasattr(v, "shape")}
        moved = {key: tensor.to(device) for key, tensor in other.items()}
        taken.append(replace(batch, inputs={**rest, **moved}))
    return taken
