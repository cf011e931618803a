"""Rows of one picture, none and two in one batch: the order of the rows, each of them alone, and
what is generated from kept keys."""

from __future__ import annotations

from typing import Any

from harness.data.samples import pictures_in, plain_conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import plain_sizes
from harness.measuring.probes._again import generated
from harness.measuring.probes._batches import batch, forward
from harness.recipe.published import IGNORE_INDEX
from harness.records.context import Context

CASE = "mixed"
# Turned around, too, a picture comes first: transformers 4.45 looks for one in the first row.
ORDER = ("one", "none", "two")


def record_alone(recorder: Recorder, context: Context, model: Any) -> None:
    """Padded left, each row must have the logits that it has by itself, where the longest row is
    the first, which is not padded, and where it is the last. model: adapted, evaluating."""
    sizes = plain_sizes(context.family, context.snapshot)
    asked = plain_conversations(sizes, context.recipe)
    rows = [asked[name] for name in ORDER]
    for case in ("longest_first", "longest_last"):
        gap, _ = recorder.attempt(
            "alone_gap",
            lambda case=case: _alone_gap(context, model, rows, case),  # type: ignore[misc]
            case=case,
        )
        if gap is not None:
            recorder.add("alone_gap", gap, case=case, unit="logits")


def _ordered(context: Context, rows: list[Any], case: str) -> list[Any]:
    """By length, but that a picture comes first whichever way round."""
    ordered = sorted(rows, key=lambda row: _length(context, row))
    if not pictures_in(ordered[0]):
        ordered = [*ordered[1:-1], ordered[0], ordered[-1]]
    return ordered[::-1] if case == "longest_first" else ordered


def _length(context: Context, row: Any) -> int:
    return int(batch(context, "left", [row])["attention_mask"].sum())


def _alone_gap(context: Context, model: Any, rows: list[Any], case: str) -> float:
    """Largest difference of a logit."""
    ordered = _ordered(context, rows, case)
    whole = _real_logits(context, model, ordered, "left")
    alone = [each for row in ordered for each in _real_logits(context, model, [row], "left")]
    return max(float((a - b).abs().max()) for a, b in zip(whole, alone, strict=True))


def record_mixed(recorder: Recorder, context: Context, model: Any) -> None:
    """What sorts pictures to rows by counting must count each row's own. model: adapted,
    evaluating. Where the rows cannot be run, every value of them is BROKEN."""
    sizes = plain_sizes(context.family, context.snapshot)
    asked = plain_conversations(sizes, context.recipe)
    rows = [asked[name] for name in ORDER]
    for metric, measure, unit in (
        ("order_gap", _order_gap, "logits"),
        ("single_gap", _single_gap, "nats/token"),
        ("cache_gap", _cache_gap, "logits"),
    ):
        gap, _ = recorder.attempt(
            metric,
            lambda measure=measure: measure(context, model, rows),  # type: ignore[misc]
            case=CASE,
        )
        if gap is not None:
            recorder.add(metric, gap, case=CASE, unit=unit)


def _real_logits(context: Context, model: Any, rows: list[Any], side: str = "right") -> list[Any]:
    """Per row (real tokens, vocabulary), float64."""
    import torch

    inputs = batch(context, side, rows)
    with torch.no_grad():
        logits = forward(model, inputs).logits.double()
    masks = inputs["attention_mask"].bool()
    return [row[mask] for row, mask in zip(logits, masks, strict=True)]


def _order_gap(context: Context, model: Any, rows: list[Any]) -> float:
    """Largest difference of a logit when the batch is reversed."""
    usual = _real_logits(context, model, rows)
    turned = _real_logits(context, model, rows[::-1])[::-1]
    return max(float((a - b).abs().max()) for a, b in zip(usual, turned, strict=True))


def _single_gap(context: Context, model: Any, rows: list[Any]) -> float:
    """The batch's loss less the mean of the rows' own, weighted by their targets."""
    import torch

    total = count = 0.0
    with torch.no_grad():
        whole = float(forward(model, batch(context, "right", rows)).loss)
        for row in rows:
            alone = batch(context, "right", [row])
            targets = int((alone["labels"][:, 1:] != IGNORE_INDEX).sum())
            total += float(forward(model, alone).loss) * targets
            count += targets
    return abs(total / count - whole)


def _cache_gap(context: Context, model: Any, rows: list[Any]) -> float:
    """Largest difference of a new token's logit, keys kept against computed anew; padded left."""
    prompts = batch(context, "left", rows)
    prompts.pop("labels")
    kept, anew = (generated(model, prompts, kept=each) for each in (True, False))
    return max(float((a - b).abs().max()) for a, b in zip(kept, anew, strict=True))
