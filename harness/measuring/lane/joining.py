"""Micro-batches that go through the model together, every label weighing what it did alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.models import Family
from harness.recipe.published import IGNORE_INDEX

POSITIONS, LABELS, MASK = "position_ids", "labels", "attention_mask"


def joined(micro: Sequence[dict[str, Any]], loader: Family) -> dict[str, Any]:
    """Micro-batches as one, rows in order, padded behind to the longest.

    micro: on the CPU or a device, tensors as the collator gives them; a mask may be missing where
    it only hides padding behind a row's tokens. What fills is seen by no token: it stands behind
    them, without a label, and under the mask where one is kept. Raises ValueError for a tensor of
    a row whose length is not the ids'. Raises NotRunnable for rows that are padded in front: their
    first token is trained on what stands before it, which depends on the batch's length.
    """
    import torch

    if any(MASK in batch and not batch[MASK][:, 0].all() for batch in micro):
        raise NotRunnable(
            "Micro-batches whose rows are padded in front are not joined: a row's first token is "
            "trained on padding there, which is another in another batch; pad on the right."
        )
    length = max(int(batch[LABELS].shape[1]) for batch in micro)
    filling = {LABELS: IGNORE_INDEX, "input_ids": int(micro[0]["input_ids"][0, 0])}
    masked = any(MASK in batch for batch in micro)
    by_name: dict[str, list[Any]] = {}
    for batch in micro:
        whole = dict(batch)
        if masked and MASK not in whole:
            whole[MASK] = torch.ones_like(whole[LABELS])
        for name, tensor in whole.items():
            axis = loader.TENSORS[name].axis if name in loader.TENSORS else "row"
            if axis == "row":
                if tensor.shape[-1] != batch[LABELS].shape[1]:
                    raise ValueError(f"{name} has {tensor.shape[-1]} places a row, not the ids'")
                behind = length - int(tensor.shape[-1])
                tensor = torch.nn.functional.pad(tensor, (0, behind), value=filling.get(name, 0))
            by_name.setdefault(name, []).append(tensor)
    several = loader.POSITION_AXES > 1
    return {
        name: torch.cat(tensors, dim=1 if name == POSITIONS and several else 0)
        for name, tensors in by_name.items()
    }


def label_weights(micro: Sequence[dict[str, Any]]) -> Any:
    """What each label of the joined batch weighs, in its rows' order: float32, (labels,).

    One over its own micro-batch's labels: summed over a micro-batch's cross-entropies this is the
    mean that the library would give for it alone.
    """
    import torch

    counts = [int((batch[LABELS][:, 1:] != IGNORE_INDEX).sum()) for batch in micro]
    each = torch.tensor([1 / max(count, 1) for count in counts], dtype=torch.float32)
    return each.repeat_interleave(torch.tensor(counts))
