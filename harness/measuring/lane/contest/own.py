"""A side that is one of the recipe's ways: the bare step without a trainer around it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from harness.measuring.lane import step as steps
from harness.measuring.lane.contest import census
from harness.measuring.lane.contest.labels import Labels
from harness.measuring.lane.contest.side import Contestant
from harness.measuring.lane.contest.start import Spec, read_batches, same_start_
from harness.measuring.lane.shelf import Shelf
from harness.measuring.models import of
from harness.measuring.snapshots.loading import quantisation_mode
from harness.recipe.ways import variant


class Own(Contestant):
    """One variant of harness/recipe/ways.py, dropout off."""

    def __init__(self, spec: Spec) -> None:
        shelf = Shelf(spec.snapshot, spec.device, quantisation_mode(spec.device))
        model = shelf.model
        self.variant = variant(spec.way)
        prepared = steps.prepare(self.variant, model, spec.device, recipe=spec.recipe)
        self.prepared, self.spec, self.labels = prepared, spec, Labels()
        self.model = prepared.model
        self.start = same_start_(prepared.model)
        self.batches = read_batches(spec.folder, pinned=spec.device.startswith("cuda"))
        self.batches = [steps.ahead(prepared, batch) for batch in self.batches]
        self.what = self.variant.what
        self.load_seconds = shelf.seconds
        self.dtypes = census.dtypes_given(prepared.model, self._forward)
        self.facts = census.held(prepared.model)

    def _forward(self) -> Any:
        import torch

        part, _ = steps.parts_of(self.batches[0], 1, of(self.model))[0]
        moved = {k: v.to(self.spec.device) for k, v in part.items()}
        on_cuda = self.spec.device.startswith("cuda")
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            return steps.loss_of(self.prepared, moved)

    def step(self, number: int) -> tuple[Any, Any]:
        """Loss and gradient norm, still tensors; the gradients stay until the next step."""
        self.prepared.optimizer.zero_grad(set_to_none=True)
        micro = self.spec.taken(self.batches, number)
        with self.labels.counted():
            total = steps.accumulate(self.prepared, micro)
        return total, steps.update(self.prepared)
