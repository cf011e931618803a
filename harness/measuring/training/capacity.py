"""Whether a training fits a card: bytes that it must hold at least against bytes that are free.

The prediction is a lower bound, so a refusal is never wrong; a run that it lets pass may still
run out of memory, and then leaves a record that says what took how much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.dataset import rows_of
from harness.errors import Lack, NotRunnable
from harness.measuring.instruments import footprint
from harness.measuring.models import family
from harness.measuring.snapshots.loading import load_processor, meta_model
from harness.measuring.training.adapter import adapter_size, kept_bytes
from harness.measuring.training.collate import make_collator
from harness.measuring.training.spec import TrainSpec
from harness.recipe.published import REFERENCE, Recipe, training_messages
from harness.records.files import write_json

SCHEMA = 1
FP32, BF16 = 4, 2
# Weight, gradient and two Adam moments.
TRAINED_COPIES = 4
RECORD = "out_of_memory.json"
MENDS: Mapping[str, str] = {
    "weights": "use a card with more memory",
    "adapter": "lower the adapter's rank",
    "logits": "use fewer samples per micro-batch and more accumulation (--micro-batch, "
    "--accumulation), or smaller pictures",
    "checkpoints": "use fewer samples per micro-batch and more accumulation (--micro-batch, "
    "--accumulation), or smaller pictures",
    "activations": "use gradient checkpointing, or fewer samples per micro-batch and more "
    "accumulation (--micro-batch, --accumulation)",
}


@dataclass(frozen=True)
class Memory:
    """Bytes of a card. free: what this process may use, what it has reserved included."""

    free: int
    total: int


def available(device: str) -> Memory:
    """Ask the driver."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return Memory(int(free) + int(torch.cuda.memory_reserved(device)), int(total))


def step_bytes(
    model: Any,
    *,
    size: int,
    tokens: int,
    scheme: footprint.Scheme = footprint.NF4_DOUBLE,
    recipe: Recipe = REFERENCE,
) -> dict[str, int]:
    """Bytes of one micro-batch's step by component: only what certainly is held at once.

    model: the architecture on the meta device. size: samples, tokens: of the longest, padding
    included. weights: held by `scheme`. adapter: LoRA on the recipe's targets in float32 with
    gradient and two Adam moments. logits: at every position the head's bfloat16 product, its
    float32 copy and that one's gradient. checkpoints: a bfloat16 hidden state per decoder layer.
    activations: what the adapters keep for their backward pass, of all layers without gradient
    checkpointing; with it of one at a time, after the logits are gone: the larger of the two.
    """
    config = (
        model.config.get_text_config()
        if hasattr(model.config, "get_text_config")
        else (model.config)
    )
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    positions = size * tokens
    logits = positions * int(config.vocab_size) * (BF16 + FP32 + FP32)
    kept = kept_bytes(model, recipe, positions)
    one_by_one = recipe.training.gradient_checkpointing
    activations = max(kept) if one_by_one else sum(kept)
    moments = {"logits": logits, "activations": activations}
    if one_by_one:
        del moments["activations" if activations <= logits else "logits"]
    return {
        "weights": footprint.predict(model, scheme).total,
        "adapter": adapter_size(model, recipe) * FP32 * TRAINED_COPIES,
        **moments,
        "checkpoints": layers * positions * width * BF16,
    }


def sentence(what: str, parts: Mapping[str, int], memory: Memory, mends: Mapping[str, str]) -> str:
    """What it takes by component, what there is, and what to change about the largest."""
    listed = ", ".join(f"{name} {count / 1e9:.2f}" for name, count in parts.items())
    largest = max(parts, key=lambda name: parts[name])
    return (
        f"{what} takes at least {sum(parts.values()) / 1e9:.2f} GB ({listed}); "
        f"{memory.free / 1e9:.2f} of the card's {memory.total / 1e9:.2f} GB can be had. "
        f"Most is {largest}: {mends[largest]}."
    )


def refuse(
    what: str, parts: Mapping[str, int], memory: Memory, mends: Mapping[str, str] = MENDS
) -> None:
    """Raises NotRunnable where the parts certainly exceed what is free."""
    if sum(parts.values()) > memory.free:
        told = sentence(what, parts, memory, mends)
        raise NotRunnable(f"Refused before it starts: {told}", Lack.MEMORY)


def out_of_memory(
    what: str,
    parts: Mapping[str, int],
    memory: Memory,
    error: BaseException,
    mends: Mapping[str, str] = MENDS,
) -> dict[str, Any]:
    """What to leave as a record of an out-of-memory."""
    return {
        "schema": SCHEMA,
        "status": "out_of_memory",
        "predicted": dict(parts),
        "predicted_total": sum(parts.values()),
        "free": memory.free,
        "total": memory.total,
        "largest": max(parts, key=lambda name: parts[name]),
        "message": str(error).splitlines()[0] if str(error) else type(error).__name__,
        "sentence": f"Out of memory: {sentence(what, parts, memory, mends)}",
    }


def training_bytes(spec: TrainSpec, shares: int = 1) -> dict[str, int]:
    """Of a training: one micro-batch padded to the longest of the first rows.

    Whichever batch that row falls into is at least as long. shares: cards that hold the weights
    and the adapter together; a head that each holds whole is counted as shared, which is less.
    """
    recipe, loader = spec.recipe, family(spec.family)
    rows = rows_of(spec, "train", limit=spec.micro_batch)
    collate = make_collator(load_processor(Path(spec.snapshot)), recipe, loader)
    batch = collate([training_messages(row, recipe) for row in rows])
    size, length = batch["input_ids"].shape
    if not spec.dropout:
        recipe = replace(recipe, lora=replace(recipe.lora, lora_dropout=0.0))
    parts = step_bytes(
        meta_model(Path(spec.snapshot)), size=int(size), tokens=int(length), recipe=recipe
    )
    return parts | {name: parts[name] // shares for name in ("weights", "adapter")}


def _what(spec: TrainSpec) -> str:
    return f"Training {spec.model} with micro-batches of {spec.micro_batch}"


def refuse_training(spec: TrainSpec, shares: int = 1) -> None:
    """Raises NotRunnable where a training on CUDA cannot fit; a CPU is not asked."""
    if spec.device.startswith("cuda"):
        refuse(_what(spec), training_bytes(spec, shares), available(spec.device))


@contextlib.contextmanager
def explaining(spec: TrainSpec, folder: Path, shares: int = 1) -> Iterator[None]:
    """Turn an out-of-memory inside into a record in the folder and a NotRunnable saying why."""
    import torch

    record = folder / RECORD
    record.unlink(missing_ok=True)
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        parts, memory = training_bytes(spec, shares), available(spec.device)
        lack = out_of_memory(_what(spec), parts, memory, error)
        write_json(record, lack)
        raise NotRunnable(f"{lack['sentence']} The record is {record}.", Lack.MEMORY) from error
