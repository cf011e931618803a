"""On what the lane measures, and what follows from a step's time."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.measuring.instruments.work import lengths_of
from harness.measuring.lane import meters
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.step import Prepared, prepare, step
from harness.measuring.lane.work import work
from harness.measuring.lane.workload import batches
from harness.measuring.models import Family, family, of_snapshot
from harness.measuring.snapshots.loading import QuantisationMode, meta_model
from harness.recipe.published import REFERENCE, Recipe
from harness.recipe.ways import Variant


@dataclass(frozen=True)
class Lane:
    """On what: shared by all cases of one call.

    micro: batches per optimizer step. size: samples per batch. sets: steps' worth of different
    batches, taken in turn. recipe: what is trained; the ways are ways of its step.
    """

    shelf: Shelf
    pairs: int = 20
    micro: int = REFERENCE.training.gradient_accumulation_steps
    size: int = REFERENCE.training.per_device_train_batch_size
    sets: int = 2
    recipe: Recipe = REFERENCE

    @property
    def snapshot(self) -> Path:
        """The model's folder."""
        return self.shelf.snapshot

    @property
    def family(self) -> Family:
        """Whose names and formulas hold."""
        return family(of_snapshot(self.snapshot))

    @property
    def device(self) -> str:
        """Where it is measured."""
        return self.shelf.device

    @property
    def quantisation(self) -> QuantisationMode:
        """How the base is held."""
        return self.shelf.quantisation

    def data(
        self,
        tokens: int,
        *,
        mixed: bool = False,
        grouped: bool = False,
        padding: str | None = None,
    ) -> list[dict[str, Any]]:
        """`sets` optimizer steps' worth of batches, on the device, padded as the collator pads.

        mixed: samples of several lengths, padded on the right. grouped: sorted by length within
        a step. padding: another side than the collator's.
        """
        collated = batches(
            self.snapshot,
            tokens,
            count=self.sets * self.micro,
            size=self.size,
            mixed=mixed,
            group=self.micro if grouped else 0,
            padding=padding,
            recipe=self.recipe,
        )
        return [{k: v.to(self.device) for k, v in batch.items()} for batch in collated]

    def prepared(self, kind: Variant, *, dropout: bool = False) -> Prepared:
        """A copy of the kept model, ready to step in a way. dropout: as prepare's."""
        copied = self.shelf.copy()
        return prepare(kind, copied, self.device, recipe=self.recipe, dropout=dropout)

    def take(self, data: Sequence[dict[str, Any]], number: int) -> list[Any]:
        """The micro-batches of step `number`."""
        first = (number % self.sets) * self.micro
        return list(data[first : first + self.micro])


def describe(data: Sequence[dict[str, Any]], lane: Lane) -> dict[str, Any]:
    """Lengths of a step's samples, on average over the batches."""
    lengths = [lengths_of(batch, lane.family) for batch in data]
    rows = len(data) * lane.size
    return {
        "samples": lane.micro * lane.size,
        "tokens_per_sample": sum(n.tokens for n in lengths) / rows,
        "padded_per_sample": sum(n.batch * n.length for n in lengths) / rows,
        "supervised_per_sample": sum(n.trained for n in lengths) / rows,
        "patches_per_sample": sum(sum(n.patches) for n in lengths) / rows,
    }


def free(device: str) -> None:
    """Give back what the last model held."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def timed(lane: Lane, side: Prepared, data: Sequence[dict[str, Any]], number: int) -> meters.Timed:
    """Step `number` of one side."""
    return meters.timed(lambda: step(side, lane.take(data, number)), lane.device)


def dtype_of(lane: Lane) -> str:
    """The dtype whose matmul rate counts."""
    return "bfloat16" if lane.device.startswith("cuda") else "float32"


def rates_of(
    data: Sequence[dict[str, Any]],
    lane: Lane,
    kind: Variant,
    seconds: Sequence[float],
    rate: float,
) -> dict[str, Any]:
    """What follows from a step's median time. mfu: work that this variant must do, hfu: what it
    executes, each as a share of the matmul rate."""
    about = describe(data, lane)
    middle = statistics.median(seconds)
    per_step = about["samples"] / middle
    shapes = meta_model(lane.snapshot)
    per_batch = [work(shapes, lengths_of(batch, lane.family), kind) for batch in data]
    useful = sum(w.useful for w in per_batch) / lane.sets
    executed = sum(w.executed for w in per_batch) / lane.sets
    return {
        "batch": about,
        "seconds": middle,
        "samples_per_second": per_step,
        "tokens_per_second": per_step * about["tokens_per_sample"],
        "supervised_per_second": per_step * about["supervised_per_sample"],
        "useful_flops": useful,
        "executed_flops": executed,
        "matmul_rate": rate,
        "mfu": useful / middle / rate,
        "hfu": executed / middle / rate,
    }
