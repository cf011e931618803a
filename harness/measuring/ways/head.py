"""Logits only where a label counts: in one product, or by liger-kernel's fused head and loss."""

from __future__ import annotations

import functools
from typing import Any, Literal

from harness.measuring import _compat
from harness.measuring.ways.applied import Change, Ledger
from harness.measuring.ways.kernels import liger_kernels
from harness.recipe.published import IGNORE_INDEX

# Arguments of a forward pass: where they are, and what each weighs.
PLACES, WEIGHTS = "label_places", "label_weights"


def choose_positions(model: Any, mode: Literal["selected", "liger"], ledger: Ledger) -> None:
    """Replace the forward of the model under the adapter, for calls with labels.

    The loss is the mean over the labels, or their sum over `num_items_in_batch` where the caller
    gives it, as the libraries have it; the output holds no logits. Where TRL's SFTTrainer has
    the model project chosen positions only, as 1.16 does, nothing is left to change. A call may
    bring the places along (see `places_of`): then the device is not asked how many there are. It
    may bring weights, one for each label in order (float32): then the loss is the weighted sum.
    Raises NotRunnable for liger off a GPU or without it; its fused loss takes no weights.
    """
    core = _compat.core(model)
    if _compat.has_fused_head(core):
        return
    if mode == "liger":
        liger_kernels(next(core.parameters()).device)
    head, inner = core.get_output_embeddings(), core.forward
    reduce = _selected if mode == "selected" else _fused

    @functools.wraps(inner)
    def forward(*args: Any, labels: Any = None, **kwargs: Any) -> Any:
        if labels is None:
            return inner(*args, **kwargs)
        items, places = kwargs.pop("num_items_in_batch", None), kwargs.pop(PLACES, None)
        weights = kwargs.pop(WEIGHTS, None)
        hidden, output = _hidden(head, inner, args, kwargs)
        targets = labels[:, 1:].to(hidden.device)
        counted = targets != IGNORE_INDEX if places is None else places
        chosen, wanted = (_chosen(t, counted) for t in (hidden[:, :-1], targets))
        if weights is None:
            loss = reduce(head, chosen, wanted, items)
        else:
            loss = _weighted(head, chosen, wanted, weights)
        rest = {k: v for k, v in output.items() if k not in ("loss", "logits")}
        return type(output)(loss=loss, **rest)

    ledger.attribute(core, "forward", forward)
    after = "one product" if mode == "selected" else "liger-kernel's fused head and loss"
    where = f"{type(core).__name__}.forward"
    ledger.changes.append(
        Change("head", where, "logits at every position", f"where a label counts, {after}")
    )


def places_of(labels: Any) -> Any:
    """Where a label counts: int64, indices into the flattened (batch, sequence - 1) that predict.

    labels: (batch, sequence), on the CPU, where finding them waits for nothing.
    """
    return (labels[:, 1:] != IGNORE_INDEX).flatten().nonzero()[:, 0]


def _chosen(values: Any, counted: Any) -> Any:
    """(labels that count, ...) of (batch, sequence - 1, ...), by mask or by places."""
    if counted.ndim == 2:
        return values[counted]
    return values.flatten(0, 1).index_select(0, counted)


def _hidden(head: Any, inner: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """What the head would get: the library's own forward with a head that passes it on.

    Older releases widen the result to float32, which the head's product narrows again.
    """
    head.forward = lambda hidden: hidden
    try:
        output = inner(*args, **kwargs)
    finally:
        del head.forward
    return output.logits, output


def _selected(head: Any, chosen: Any, wanted: Any, items: Any) -> Any:
    import torch

    logits = head(chosen).float()
    if items is None:
        return torch.nn.functional.cross_entropy(logits, wanted)
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum") / items


def _weighted(head: Any, chosen: Any, wanted: Any, weights: Any) -> Any:
    import torch

    each = torch.nn.functional.cross_entropy(head(chosen).float(), wanted, reduction="none")
    return (each * weights).sum()


def _fused(head: Any, chosen: Any, wanted: Any, items: Any) -> Any:
    import torch

    kernels = liger_kernels(head.weight.device)
    fused = kernels.LigerFusedLinearCrossEntropyLoss(reduction="mean" if items is None else "sum")
    loss = fused(head.weight.to(torch.bfloat16), chosen.to(torch.bfloat16), wanted)
    return loss if items is None else loss / items
