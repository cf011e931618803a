"""Rung 4, rows of one picture, none and two beside each other in one batch."""

from __future__ import annotations

from typing import Any

from harness.data.samples import pictures_in, plain_conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Family, of_recipe, plain_sizes
from harness.measuring.training.collate import control_ids, make_collator
from harness.records.context import Context
from harness.records.typed import Json

# A picture comes first: transformers 4.45 looks for one in the first row.
ORDER = ("one", "none", "two")


def record_together(recorder: Recorder, context: Context, loader: Family, processor: Any) -> None:
    """Image tokens by row, the grids of all pictures in their order, and how far a batch's pixels
    lie from its rows' own; these of the recipe's family, for others pad a row by its neighbours."""
    asked = plain_conversations(plain_sizes(context.family, context.snapshot), context.recipe)
    rows = [asked[name] for name in ORDER]
    collate = make_collator(processor, context.recipe, loader)
    batch, failed = recorder.attempt("mixed_tokens", lambda: collate(rows))
    if failed is not None or batch is None:
        return
    image = control_ids(processor.tokenizer, loader.CHAT)[loader.CHAT.image]
    counts: list[Json] = [*(batch["input_ids"] == image).sum(-1).tolist()]
    recorder.add("mixed_tokens", counts, unit="tokens")
    placed = loader.picture_grids(processor, batch)
    if placed is not None:
        grids: list[Json] = [[*grid] for grid in placed]
        recorder.add("mixed_grids", grids, unit="patches")
    if context.family != of_recipe()[0]:
        return
    gap, _ = recorder.attempt("mixed_pixels", lambda: _pixel_gap(loader, collate, rows, batch))
    if gap is not None:
        recorder.add("mixed_pixels", gap)


def _pixel_gap(loader: Family, collate: Any, rows: list[Any], batch: Any) -> float:
    """Raises ValueError where they are not as many."""
    import torch

    whole = loader.entering(batch)
    shown = [row for row in rows if pictures_in(row)]
    apart = torch.cat([loader.entering(collate([row])) for row in shown])
    if apart.shape != whole.shape:
        raise ValueError(
            f"A batch's pixels are {tuple(whole.shape)}, its rows' {tuple(apart.shape)}."
        )
    return float((apart - whole).abs().max())
