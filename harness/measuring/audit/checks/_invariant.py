"""What must not move a target's loss, and what must."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rounding import noise
from harness.measuring.audit.rows import feature_order
from harness.measuring.audit.scoring import Scored, collated, score
from harness.measuring.audit.steps.generators import places
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# Rows that are computed alone: each is one more forward pass.
_ALONE = 4
# Collations of the same rows that must agree before rows are taken apart: of one that draws among
# five texts by a clock, 1 in 5^8 = 390,625 seems steady; after one collation it would be 1 in 5.
_AGAIN = 8


def invariances(training: Training, findings: Findings, batch: Batch, scored: Scored) -> None:
    """scored: the batch as it is. Adds every check or why it was not made."""
    limit = noise(training, batch.inputs, scored)

    def same(name: str, other: Any, setting: str = "") -> None:
        findings.put(
            name,
            float((scored.losses - other).abs().max()),
            0.0,
            basis=Basis.IDENTITY,
            tolerance=limit,
            unit="nats/token",
            setting=setting,
        )

    again = findings.attempt("repeated", lambda: score(training, batch.inputs))
    if again is not None:
        same("repeated", again.losses)
    cached = findings.attempt("cache", lambda: _without_cache(training, batch))
    if cached is not None:
        same("cache", cached.losses, "use_cache")
    padded = findings.attempt("padding", lambda: _scribbled(training, batch))
    if padded is not None:
        same("padding", padded.losses, "attention_mask")
    alone = findings.attempt("batch_mates", lambda: _alone(training, batch, scored))
    if alone is not None:
        same("batch_mates", alone, "data_collator")
    turned = findings.attempt("row_order", lambda: _turned(training, batch, scored))
    if turned is not None:
        same("row_order", turned, "data_collator")
    deaf = findings.attempt("pictures_ignored", lambda: _deaf(training, batch, scored))
    if deaf is not None:
        findings.put(
            "pictures_ignored", len(deaf), 0, unit="rows", evidence=[f"row {row}" for row in deaf]
        )


def _without_cache(training: Training, batch: Batch) -> Scored:
    """The losses as the Trainer computes them while it trains: no keys and values kept."""
    forward = inspect.signature(training.core.forward).parameters
    if "use_cache" not in forward or "use_cache" in batch.inputs:
        raise NotRunnable("The model's forward has no use_cache.")
    return score(training, batch.inputs, use_cache=False)


def _scribbled(training: Training, batch: Batch) -> Scored:
    """The losses with another token at every place that is padding."""
    mask = batch.mask
    if mask is None or mask.ndim != 2 or bool(mask.all()):
        raise NotRunnable("The batch has no padding.")
    known = {*training.never_trained, training.pad_token_id}
    real = [int(i) for i in batch.ids[mask.bool()].unique() if int(i) not in known]
    ids = batch.ids.masked_fill(mask == 0, real[0])
    return score(training, {**batch.inputs, "input_ids": ids})


def _is_steady(training: Training, batch: Batch) -> bool:
    """Whether the collator makes the same of the same rows again, and not only by luck: one that
    draws among a few, from a generator or by a clock, may give the same more than once."""
    import torch

    torch.manual_seed(0)  # as `collated` does
    before = places(training)
    return all(
        _equal(collated(training, batch.features).inputs, batch.inputs)
        and places(training) == before
        for _ in range(_AGAIN)
    )


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    import torch

    return set(one) == set(other) and all(
        torch.equal(one[name], value)
        for name, value in other.items()
        if isinstance(value, torch.Tensor)
    )


def _check_rows(training: Training, batch: Batch) -> None:
    """Raises NotRunnable where rows cannot be taken apart."""
    if len(batch.features) < 2:
        what = "pair" if batch.are_pairs else "row"
        raise NotRunnable(
            f"The batch has one {what}; give per_device_train_batch_size 2 to see more."
        )
    if batch.are_pairs and len(batch.ids) != 2 * len(batch.features):
        raise NotRunnable("The batch has other rows than two of every pair.")
    if not _is_steady(training, batch):
        raise NotRunnable("The collator makes something else of the same rows each time.")


def _alone(training: Training, batch: Batch, scored: Scored) -> Any:
    """float64 (targets,): the losses of every row in a batch of its own."""
    import torch

    _check_rows(training, batch)
    if len(batch.features) > _ALONE:
        rows = len(batch.ids) == len(batch.features)
        if not rows:
            raise NotRunnable("The batch is many rows in one; they are not taken apart.")
    kept = batch.features[:_ALONE]
    alone = [score(training, collated(training, [row]).inputs) for row in kept]
    if batch.are_pairs:
        joined = torch.cat([*_of_pairs(alone, scored, len(batch.features))])
    else:
        losses = [each.losses for each in alone]
        joined = torch.cat([*losses, scored.losses[sum(map(len, losses)) :]])
    if len(joined) != len(scored.losses):
        raise NotRunnable("The collator trains on other tokens of a row when it stands alone.")
    return joined


def _of_pairs(alone: Sequence[Scored], scored: Scored, pairs: int) -> Iterator[Any]:
    """Row by row of a batch of pairs, the chosen answers before the rejected ones, the losses of
    the first pairs where each is a batch of its own."""
    for answer in (0, 1):
        yield from (pair.of_row(answer) for pair in alone)
        yield from (scored.of_row(answer * pairs + pair) for pair in range(len(alone), pairs))


def _turned(training: Training, batch: Batch, scored: Scored) -> Any:
    """float64 (targets,): the losses with the rows in reverse, put back into their order."""
    import torch

    _check_rows(training, batch)
    if len(batch.ids) != len(batch.features) and not batch.are_pairs:
        raise NotRunnable("The batch is many rows in one; their order is part of it.")
    features = batch.features[::-1]
    turned = Batch(collated(training, features).inputs, features)
    backwards = score(training, turned.inputs)
    # A collator that has an order of its own puts them back into it.
    if _equal(turned.inputs, batch.inputs):
        return backwards.losses
    order = feature_order(training, turned)
    last = len(features) - 1
    rows = [order.index(answer * len(features) + last - i) for answer, i in _places(batch)]
    joined = torch.cat([backwards.of_row(row) for row in rows])
    if len(joined) != len(scored.losses):
        raise NotRunnable("The collator trains on other tokens when rows change places.")
    return joined


def _places(batch: Batch) -> list[tuple[int, int]]:
    """(which of a pair's answers, 0 where there are no pairs; which feature), by row."""
    count = len(batch.features)
    return [divmod(row, count) for row in range(len(batch.ids))]


def _deaf(training: Training, batch: Batch, scored: Scored) -> list[int]:
    """Rows with pictures none of whose losses moves when every picture is another."""
    import torch

    pixels = {
        name: value
        for name, value in batch.inputs.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and "pixel" in name
    }
    if not pixels or training.picture_token_id is None:
        raise NotRunnable("The batch has no pictures.")
    # Zeros are no picture's levels: they fill a row up, and a model drops what is all zero.
    others = {name: torch.where(value == 0, value, 1 - value) for name, value in pixels.items()}
    moved = score(training, {**batch.inputs, **others})
    gaps = (moved.losses - scored.losses).abs()
    shown = (batch.ids == training.picture_token_id).any(1)
    # A loss that a picture reaches moves; computed twice on the same device it would not at all.
    return [
        row
        for row in range(len(batch.ids))
        if bool(shown[row])
        and bool((scored.rows == row).any())
        and float(gaps[scored.rows == row].max()) == 0.0
    ]
