"""A named way from a cold start: load, compile, an epoch, the start of the next, the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from harness.measuring.instruments.meters import synchronise
from harness.measuring.lane import step as steps
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.whole import compiling
from harness.measuring.lane.whole.clock import Clock, WholeSpec
from harness.measuring.lane.whole.rows import Batches
from harness.measuring.snapshots.loading import quantisation_mode
from harness.recipe.published import IGNORE_INDEX
from harness.recipe.ways import variant


def train(spec: WholeSpec, rows: list[Any], clock: Clock) -> None:
    """Into the clock: every phase, and every step with how long it waited for its batches."""
    batches = Batches(spec.snapshot, rows, spec.recipe, variant(spec.way).unmasked)
    pinned = spec.device.startswith("cuda")
    training = spec.recipe.training
    size = training.per_device_train_batch_size
    before = compiling.compilation()
    # Collation begins before the model is there; it waits for nothing of it.
    first = batches.epoch(0, size, spec.processes, pinned=pinned)
    clock.phase("collators started")
    if variant(spec.way).compiled:
        compiling.start_compiler()
    shelf = Shelf(spec.snapshot, spec.device, quantisation_mode(spec.device))
    clock.phase("model loaded")
    prepared = steps.prepare(variant(spec.way), shelf.model, spec.device, recipe=spec.recipe)
    synchronise(spec.device)
    clock.phase("way put on")
    _epochs(spec, batches, first, prepared, clock)
    clock.compilation = compiling.compilation(before)


def _epochs(
    spec: WholeSpec, batches: Batches, first: Iterator[Any], prepared: steps.Prepared, clock: Clock
) -> None:
    """The first epoch, the adapter, the start of the second."""
    training, pinned = spec.recipe.training, spec.device.startswith("cuda")
    size, micro = training.per_device_train_batch_size, training.gradient_accumulation_steps
    for epoch, loader in enumerate((first, None)):
        coming = loader or batches.epoch(1, size, spec.processes, pinned=pinned)
        limit = spec.steps if epoch == 0 else spec.later
        for number in range(limit) if limit else iter(int, 1):
            clock.begin()
            taken = list(islice(coming, micro))
            if not taken:
                break
            clock.waited()
            total, norm = _step(prepared, taken)
            synchronise(spec.device)
            clock.step(epoch, sum(map(_learnt, taken)), float(total), float(norm))
            if epoch and number + 1 == limit:
                break
        _end(coming)
        clock.phase(f"epoch {epoch + 1} ended")
        if epoch == 0:
            prepared.model.save_pretrained(str(spec.folder / "adapter"))
            clock.phase("adapter saved")


def _learnt(batch: dict[str, Any]) -> int:
    """Rows that have a label."""
    return int((batch["labels"] != IGNORE_INDEX).any(dim=-1).sum())


def _step(prepared: steps.Prepared, micro: list[Any]) -> tuple[Any, Any]:
    prepared.optimizer.zero_grad(set_to_none=True)
    total = steps.accumulate(prepared, micro)
    return total, steps.update(prepared)


def _end(coming: Iterator[Any]) -> None:
    """Collating processes that still have work are ended."""
    stop = getattr(coming, "_shutdown_workers", None)
    if stop is not None:
        stop()
