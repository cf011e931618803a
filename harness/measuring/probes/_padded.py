"""Rung 11: what padding does to a loss and to gradients, in the arithmetic of the training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from harness.data.dataset import rows_of
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.measuring.training.spec import TrainSpec
from harness.recipe.published import IGNORE_INDEX, training_messages
from harness.records.context import Context


def padded_gradient(recorder: Recorder, spec: TrainSpec, context: Context) -> None:
    """The adapter's gradient norm on a left-padded batch: default attention over eager."""
    import torch

    from harness.measuring.training.collate import make_collator

    processor = loading.load_processor(context.snapshot, padding_side="left")
    rows = rows_of(spec, "train", limit=4)
    batch = make_collator(processor, context.recipe, family(context.family))(
        [training_messages(row, context.recipe) for row in rows]
    )
    norms = []
    for attention in (None, "eager"):
        model = loading.load_model(
            context.snapshot, device=spec.device, dtype=spec.dtype, attention=attention
        )
        model = adapter.add_lora(model, context.recipe, seed=spec.seed, dropout=False)
        model(**{k: v.to(spec.device) for k, v in batch.items()}, use_cache=False).loss.backward()
        grown = [p.grad.float().norm() for p in model.parameters() if p.grad is not None]
        norms.append(float(torch.stack(grown).norm()))
    recorder.add(
        "padded_gradient",
        norms[0] / norms[1],
        note=f"gradient norm {norms[0]:.4g} with the default attention, {norms[1]:.4g} with eager",
    )


def widened(batch: Mapping[str, Any], length: int, pad: int) -> dict[str, Any]:
    """A batch padded further on the left, to `length` positions; pictures stay as they are."""
    import torch

    fill = {"input_ids": pad, "labels": IGNORE_INDEX}
    own = batch["input_ids"].shape
    more = length - own[1]
    return {
        name: torch.nn.functional.pad(tensor, (more, 0), value=fill.get(name, 0))
        if tensor.shape == own
        else tensor
        for name, tensor in batch.items()
    }


def at_length(recorder: Recorder, spec: TrainSpec, context: Context) -> None:
    """Whether a step's gradient is finite where a batch's length is 64 over a multiple of 128.

    cuDNN's attention works in tiles of 128: on Hopper, with a boolean mask, rows that see no key
    had no finite gradient at just these lengths (torch 2.11, cuDNN 9.19), one micro-batch in 128.
    In the arithmetic that the recipe trains in on this device.
    """
    import torch

    from harness.measuring.training.collate import make_collator

    model = loading.load_model(context.snapshot, device=spec.device, dtype=spec.dtype)
    model = adapter.add_lora(model, context.recipe, seed=spec.seed, dropout=False)
    processor = loading.load_processor(context.snapshot, padding_side="left")
    rows = rows_of(spec, "train", limit=2)
    batch = make_collator(processor, context.recipe, family(context.family))(
        [training_messages(row, context.recipe) for row in rows]
    )
    length = (batch["input_ids"].shape[1] + 64) // 128 * 128 + 64
    batch = widened(batch, length, processor.tokenizer.pad_token_id)
    on_cuda = spec.device.startswith("cuda")
    with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
        loss = model(**{k: v.to(spec.device) for k, v in batch.items()}, use_cache=False).loss
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    recorder.add(
        "padded_gradient_is_finite",
        all(bool(torch.isfinite(g).all()) for g in gradients),
        unit="bool",
        note=f"{length} positions, {len(gradients)} tensors",
    )


def bf16(recorder: Recorder, spec: TrainSpec, context: Context) -> None:
    """Whether the recipe's bf16=True gives a finite loss on this device with a padded batch."""
    import torch

    from harness.measuring.training.collate import make_collator

    model = loading.load_model(
        context.snapshot, device=spec.device, dtype=spec.dtype, quantisation=spec.quantisation
    )
    processor = loading.load_processor(context.snapshot)
    rows = rows_of(spec, "train", limit=4)
    batch = make_collator(processor, context.recipe, family(context.family))(
        [training_messages(row, context.recipe) for row in rows]
    )
    moved = {k: v.to(spec.device) for k, v in batch.items()}
    with torch.no_grad(), torch.autocast(spec.device, dtype=torch.bfloat16):
        loss = model(**moved, use_cache=False).loss
    recorder.add("bf16_loss_is_finite", bool(torch.isfinite(loss)), unit="bool")
