"""The bare training step of a variant: the recipe's arithmetic without a trainer around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from harness.measuring import _compat
from harness.measuring.lane.joining import LABELS, MASK, POSITIONS, joined, label_weights
from harness.measuring.lane.published import cast_back
from harness.measuring.models import Family, canonical_name, of
from harness.measuring.training.adapter import add_lora
from harness.measuring.ways.applied import Ledger
from harness.measuring.ways.apply import change
from harness.measuring.ways.head import PLACES, WEIGHTS, places_of
from harness.recipe.published import IGNORE_INDEX, REFERENCE, Recipe
from harness.recipe.ways import Variant


@dataclass
class Prepared:
    """A model ready to step. parameters: LoRA's."""

    variant: Variant
    model: Any
    optimizer: Any
    parameters: list[Any]
    device: str
    recipe: Recipe

    def adapter(self) -> dict[str, Any]:
        """LoRA's tensors on the CPU, by canonical name."""
        return trained_tensors(self.model)


def trained_tensors(model: Any) -> dict[str, Any]:
    """What a model trains, float32 on the CPU, by canonical name."""
    loader = of(model)
    return {
        canonical_name(n, loader): p.detach().float().cpu().clone()
        for n, p in model.named_parameters()
        if p.requires_grad
    }


def prepare(
    variant: Variant,
    model: Any,
    device: str,
    *,
    recipe: Recipe = REFERENCE,
    dropout: bool = False,
) -> Prepared:
    """Prepare a loaded model for k-bit training, add LoRA and AdamW; the model is changed.

    dropout: off for proofs of equal loss. Raises NotRunnable for a library that lacks a part.
    """
    import torch
    from peft import prepare_model_for_kbit_training

    on_cuda = device.startswith("cuda")
    if variant.upcast == "none":
        model.requires_grad_(False)
    else:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = add_lora(model, recipe, dropout=dropout)
    if variant.upcast == "published":
        cast_back(model)
    model.train()
    _checkpoint(model, variant, recipe)
    # What a user gets by harness.measuring.ways.apply; nobody here wants it undone.
    change(model, variant, Ledger(), keep=False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.training.learning_rate, fused=on_cuda, weight_decay=0.0
    )
    return Prepared(variant, model, optimizer, parameters, device, recipe)


def _checkpoint(model: Any, variant: Variant, recipe: Recipe) -> None:
    """The recipe's checkpointing on all layers; its inputs' gradients only where a way has them.

    transformers 5 switches them on together, and with them a backward pass through the tower.
    """
    model.gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={"use_reentrant": recipe.training.use_reentrant}
    )
    if variant.input_grads:
        model.enable_input_require_grads()
        return
    for hook in _compat.input_gradient_hooks(_compat.core(model)):
        hook.remove()


def loss_of(prepared: Prepared, batch: dict[str, Any]) -> Any:
    """Mean cross-entropy of one micro-batch over its labels, float32 scalar."""
    return prepared.model(**batch, use_cache=False).loss


def parts_of(batch: dict[str, Any], rows: int, loader: Family) -> list[tuple[dict[str, Any], Any]]:
    """A micro-batch in parts of `rows` samples (0: whole), each with its share of the labels.

    Each part's mean loss times its share adds up to the whole's mean. Raises ValueError where
    samples and pictures do not pair off.
    """
    size, _ = batch["labels"].shape
    if not rows or rows >= size:
        return [(batch, 1.0)]
    patches = loader.patches(batch)
    if len(patches) != size:
        raise ValueError(f"{len(patches)} pictures for {size} samples; one each can be split")
    counted = (batch["labels"][:, 1:] != IGNORE_INDEX).sum(-1)
    by_patch = {name for name, tensor in loader.TENSORS.items() if tensor.axis == "patch"}
    split = []
    for first in range(0, size, rows):
        last = min(size, first + rows)
        begin, end = sum(patches[:first]), sum(patches[:last])
        part = {k: v[begin:end] if k in by_patch else v[first:last] for k, v in batch.items()}
        if POSITIONS in batch:
            # Where a way brings them along: of several axes (axes, batch, sequence).
            positions, rows_of = batch[POSITIONS], slice(first, last)
            several = loader.POSITION_AXES > 1
            part[POSITIONS] = positions[:, rows_of] if several else positions[rows_of]
        split.append((part, counted[first:last].sum() / counted.sum()))
    return split


def ahead(prepared: Prepared, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as the way's collator makes it: with what its forward pass would ask the device."""
    if prepared.variant.positions == "model":
        return batch
    ready = {**batch, POSITIONS: of(prepared.model).position_ids(prepared.model, batch)}
    return without_mask(ready) if prepared.variant.unmasked else ready


def without_mask(batch: dict[str, Any]) -> dict[str, Any]:
    """Without a mask that only hides what stands behind every row's tokens.

    Causal attention shows no token what stands behind it, and no label counts there.
    attention_mask: (batch, sequence), on the CPU; a row that is padded in front keeps it.
    """
    mask = batch[MASK]
    if (mask[:, 1:] > mask[:, :-1]).any():
        return batch
    return {name: value for name, value in batch.items() if name != MASK}


def _moved(prepared: Prepared, part: dict[str, Any]) -> dict[str, Any]:
    """On the device, but for what the host needs to know; places of labels found on the host."""
    kind, whole = prepared.variant, dict(part)
    by_collator = kind.positions == "collator" and part[LABELS].device.type == "cpu"
    if by_collator and kind.head == "selected":
        whole[PLACES] = places_of(part[LABELS])
    knows = by_collator and kind.compiled_tower and _compat.tower_takes_positions()
    pictures = {name for name, t in of(prepared.model).TENSORS.items() if t.axis == "picture"}
    stays = pictures if knows else set()
    return {
        name: value if name in stays else _sent(value, prepared.device)
        for name, value in whole.items()
    }


def _sent(value: Any, device: str) -> Any:
    """To the device without waiting: from pageable memory the copy would wait for all work before
    it."""
    if device.startswith("cuda") and value.device.type == "cpu" and not value.is_pinned():
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


def accumulate(prepared: Prepared, micro: Sequence[dict[str, Any]]) -> Any:
    """Forward and backward over micro-batches, on the device or moved there; their mean loss.

    The loss is the mean of the micro-batches' means, as transformers 4.45.1 accumulates.
    """
    import torch

    on_cuda = prepared.device.startswith("cuda")
    total = torch.zeros((), device=prepared.device)
    for part, share in _passes(prepared, micro):
        moved = _moved(prepared, part)
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            loss = loss_of(prepared, moved) * share / len(micro)
        loss.backward()
        total += loss.detach().float()
    return total


def _passes(
    prepared: Prepared, micro: Sequence[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], Any]]:
    """What goes through the model at a time, as `rows` has it, with its share of a micro-batch's
    loss; several joined ones weigh their labels themselves."""
    loader, rows = of(prepared.model), prepared.variant.rows
    together = max(1, rows // len(micro[0][LABELS]))
    if together == 1:
        for batch in micro:
            yield from parts_of(batch, rows, loader)
        return
    for first in range(0, len(micro), together):
        some = micro[first : first + together]
        whole = joined([_pixels_moved(prepared, batch) for batch in some], loader)
        yield {**whole, WEIGHTS: label_weights(some)}, 1.0


def _pixels_moved(prepared: Prepared, batch: dict[str, Any]) -> dict[str, Any]:
    """What is large goes to the device before it is joined, from where it is pinned."""
    large = {n for n, t in of(prepared.model).TENSORS.items() if t.axis == "patch"}
    return {
        name: value.to(prepared.device, non_blocking=True) if name in large else value
        for name, value in batch.items()
    }


def update(prepared: Prepared) -> Any:
    """Clip and step; the gradient's norm before clipping. The clipped gradients stay."""
    import torch

    norm = torch.nn.utils.clip_grad_norm_(
        prepared.parameters, prepared.recipe.training.max_grad_norm
    )
    prepared.optimizer.step()
    return norm


def step(prepared: Prepared, micro: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """One optimizer step over micro-batches; (loss, gradient norm), still tensors."""
    total = accumulate(prepared, micro)
    norm = update(prepared)
    prepared.optimizer.zero_grad(set_to_none=True)
    return total, norm


def parts_of_step(prepared: Prepared, batch: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    """Forward, backward and update over one micro-batch, to be called in turn: memory's phases."""
    import torch

    on_cuda = prepared.device.startswith("cuda")
    losses: list[Any] = []

    def forward() -> None:
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            losses.append(loss_of(prepared, batch))

    def updated() -> None:
        update(prepared)
        prepared.optimizer.zero_grad(set_to_none=True)

    return [
        ("forward", forward),
        ("backward", lambda: losses.pop().backward()),
        ("update", updated),
    ]
