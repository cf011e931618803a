"""What a loop's own loader hands it: each batch with the rows that it was made from."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from harness.measuring.audit.contents import copied
from harness.measuring.audit.training import Batch

# Batches that are kept until the loop trains on them: accelerate draws one ahead, and what a script
# looked at before it trains is let go.
_KEPT = 8


class Collated:
    """Stands where a DataLoader's collate_fn was, in this process: workers of its own would call it
    where nobody sees it. changed: what that put out of action, for people."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.collate = loader, loader.collate_fn
        self.calls: deque[tuple[list[Any], dict[str, Any]]] = deque(maxlen=_KEPT)
        self.changed: list[str] = []
        if loader.num_workers:
            self.changed.append("num_workers is 0")
            # A DataLoader refuses some of these by assignment once it is made.
            vars(loader).update(num_workers=0, prefetch_factor=None, persistent_workers=False)
            vars(loader)["_DataLoader__multiprocessing_context"] = None
        loader.collate_fn = self

    def __call__(self, rows: Any) -> Any:
        kept = [copied(row) for row in rows] if isinstance(rows, list) else []
        batch = self.collate(rows)
        if isinstance(batch, Mapping):
            self.calls.append((kept, dict(batch)))
        return batch

    def put_back(self) -> None:
        """The loader's own collate_fn again."""
        self.loader.collate_fn = self.collate

    def batch_of(self, inputs: Mapping[str, Any]) -> Batch:
        """The batch that a forward pass was given. Labels that the loop keeps for a loss of its own
        are the collator's; anything else that the model is not given is left out. Without rows
        where the loader did not make it."""
        given = {name: value for name, value in inputs.items() if _is_tensor(value)}
        ids = given.get("input_ids")
        for place, (rows, batch) in enumerate(self.calls):
            if ids is not None and _is_same(batch.get("input_ids"), ids):
                del self.calls[place]
                labels: Any = batch.get("labels")
                own = {"labels": labels.to(ids.device)} if _is_tensor(labels) else {}
                return Batch({**own, **given}, rows)
        return Batch(given)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _is_same(one: Any, other: Any) -> bool:
    import torch

    return (
        _is_tensor(one)
        and one.shape == other.shape
        and torch.equal(one.cpu(), other.detach().cpu())
    )


def replaced(inputs: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A forward's keywords with another stack's tensors in place of its own, on their device."""
    device = next((v.device for v in inputs.values() if _is_tensor(v)), None)
    rest = {name: value for name, value in inputs.items() if not _is_tensor(value)}
    return {**rest, **{name: value.to(device) for name, value in given.items()}}


def tells_its_loss(inputs: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a forward pass is given the labels, so that other ones change what it learns."""
    return _is_tensor(inputs.get("labels")) or not any("labels" in batch for batch in given)
