"""As many rows as a training has, and their batches, collated beside the training."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.catalogue import products, render, row
from harness.measuring.lane.step import without_mask
from harness.measuring.lane.workload import sides_for
from harness.measuring.models import Family, family, of_snapshot
from harness.measuring.snapshots.loading import load_processor, meta_model
from harness.measuring.training.collate import make_collator
from harness.recipe.published import IGNORE_INDEX, Recipe, training_messages

# Products come again with their picture turned: no two rows share one.
QUARTERS = 4
# On the left, as the recipe pads, some lengths have no finite gradient on Hopper, whoever trains
# (trajectory.padded_gradient_is_finite).
PADDING = "right"


def conversation(work: tuple[int, int, Recipe]) -> Any:
    """The messages of row `number`, its picture `side` px high and wide. work: (number, side,
    recipe)."""
    number, side, recipe = work
    of_split = products("train")
    product = of_split[number % len(of_split)]
    picture = render(product).resize((side, side)).rotate(90 * (number // len(of_split)))
    return training_messages({**row(product), "image": picture}, recipe)


def conversations(
    snapshot: Path, tokens: int, count: int, recipe: Recipe, processes: int
) -> list[Any]:
    """`count` conversations of about `tokens` tokens, every picture another.

    Raises ValueError for more rows than products in four turns.
    """
    if count > QUARTERS * len(products("train")):
        raise ValueError(f"{count} rows are more than {QUARTERS} turns of every product")
    side = sides_for(snapshot, tokens, 1, size=1, recipe=recipe)[0]
    work = [(number, side, recipe) for number in range(count)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.map(conversation, work, chunksize=8)


@dataclass
class Batches:
    """Micro-batches of an epoch in a drawn order, what the forward pass would ask found ahead.

    Travels into collating processes, which hold no device.
    """

    snapshot: Path
    rows: Sequence[Any]
    recipe: Recipe
    unmasked: bool = False
    _collate: Any = None
    _shapes: Any = None

    @property
    def loader(self) -> Family:
        """Whose batches they are."""
        return family(of_snapshot(self.snapshot))

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        """One micro-batch, with position ids.

        A row that is left over alone is given a copy that teaches nothing: torch.compile takes a
        batch of one for another shape, and would compile anew for it.
        """
        alone = len(numbers) == 1
        if self._collate is None:
            self._collate = make_collator(
                load_processor(self.snapshot, padding_side=PADDING), self.recipe, self.loader
            )
            self._shapes = meta_model(self.snapshot)
        drawn = [*numbers, *numbers] if alone else numbers
        batch = self._collate([{"messages": self.rows[n]} for n in drawn])
        if alone:
            batch["labels"][1] = IGNORE_INDEX
        ready = {**batch, "position_ids": self.loader.position_ids(self._shapes, batch)}
        return without_mask(ready) if self.unmasked else ready

    def epoch(self, number: int, size: int, processes: int, *, pinned: bool) -> Iterator[Any]:
        """Every row once, `size` at a time, by `processes` processes beside this one."""
        import torch

        drawn = torch.Generator().manual_seed(number)
        return iter(
            torch.utils.data.DataLoader(
                range(len(self.rows)),
                batch_size=size,
                sampler=torch.utils.data.RandomSampler(range(len(self.rows)), generator=drawn),
                collate_fn=self,
                num_workers=processes,
                prefetch_factor=4 if processes else None,
                pin_memory=pinned,
            )
        )
