"""The frozen vision tower, run another way: without gradients, once, or a picture at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.measuring.models import Family, of, parts
from harness.measuring.ways.applied import Change, Ledger
from harness.recipe.ways import Mode

# A picture's name in the cache: two 64-bit sums over its pixels, and its grid.
Key = tuple[int, ...]
AFTER: dict[Mode, str] = {
    "no_grad": "forward only",
    "cached": "forward only, once per picture",
    "by_picture": "one picture at a time",
}


@dataclass
class Tower:
    """Pictures that went through the tower, kept once `cached` asks for it.

    kept: the tower's result, (image tokens, width), by picture.
    """

    kept: dict[Key, Any] = field(default_factory=dict)
    output: Callable[..., Any] | None = None
    weights: Any = None


def run_tower(model: Any, mode: Mode, ledger: Ledger) -> Tower:
    """Replace the forward of a model's vision tower.

    no_grad: no backward work. cached: besides, one computation per picture, known again by its
    pixels whatever batch it comes in. by_picture: each picture goes through alone, as often as
    there are pictures, gradients as the recipe has them.
    """
    tower, memory = parts(model).tower, Tower()
    inner = tower.forward
    wrappers = {"no_grad": _frozen, "cached": _cached, "by_picture": _by_picture}[mode]
    ledger.attribute(tower, "forward", functools.wraps(inner)(wrappers(inner, memory, of(model))))
    ledger.backwards.append(memory.kept.clear)
    where = f"{type(tower).__name__}.forward"
    ledger.changes.append(Change("tower", where, "forward and backward in every step", AFTER[mode]))
    return memory


def _frozen(inner: Callable[..., Any], _: Tower, __: Family) -> Callable[..., Any]:
    import torch

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return inner(*args, **kwargs)

    return forward


def _cached(inner: Callable[..., Any], memory: Tower, loader: Family) -> Callable[..., Any]:
    """Pictures of a batch that are new go through together, as they would without a cache."""
    import torch

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            calls = loader.one_by_one(*args, **kwargs)
            pictures = [call.pixels for call in calls]
            keys = fingerprints(pictures, torch.cat([call.shape for call in calls]), memory)
            new = list({k: i for i, k in enumerate(keys) if k not in memory.kept}.values())
            if new:
                chosen, named = loader.together([calls[i] for i in new])
                output = inner(*chosen, **named)
                merged = output.pooler_output if hasattr(output, "keys") else output
                memory.output = type(output) if hasattr(output, "keys") else None
                ratio = sum(len(pictures[i]) for i in new) // len(merged)
                parts = merged.split([len(pictures[i]) // ratio for i in new])
                memory.kept |= dict(zip((keys[i] for i in new), parts, strict=True))
            joined = torch.cat([memory.kept[key] for key in keys])
        return joined if memory.output is None else memory.output(pooler_output=joined)

    return forward


def fingerprints(pictures: Sequence[Any], shapes: Any, memory: Tower) -> list[Key]:
    """A key per picture: its shape, and two sums of its pixels' bits times random 64-bit numbers.

    Modulo 2**64 such a sum is a universal hash: two pictures whose 32-bit words differ share one
    with a probability of at most 2**-33, both with 2**-66 (the power of two that a difference
    can hold is lost). The device is asked once per batch.
    """
    import torch

    longest = max(p.numel() for p in pictures)
    if memory.weights is None or memory.weights.shape[1] < longest:
        drawn = torch.Generator().manual_seed(0)
        # A pair per word, so that a longer draw begins with a shorter one's numbers.
        pairs = torch.randint(-(2**63), 2**63 - 1, (longest, 2), generator=drawn, dtype=torch.int64)
        memory.weights = pairs.T.contiguous().to(pictures[0].device)
    words = {2: torch.int16, 4: torch.int32}
    sums = []
    for picture in pictures:
        bits = picture.contiguous().view(words[picture.element_size()]).reshape(-1).long()
        sums.append((memory.weights[:, : len(bits)] * bits).sum(-1))
    named = torch.cat([torch.stack(sums), shapes.to(sums[0].device)], dim=1)
    return [tuple(row) for row in named.tolist()]


def _by_picture(inner: Callable[..., Any], _: Tower, loader: Family) -> Callable[..., Any]:
    import torch

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls = [loader.together([call]) for call in loader.one_by_one(*args, **kwargs)]
        outputs = [inner(*chosen, **named) for chosen, named in calls]
        return _joined(outputs) if hasattr(outputs[0], "keys") else torch.cat(outputs)

    return forward


def _joined(outputs: Sequence[Any]) -> Any:
    """One output object whose tensors are the given ones' in order."""
    import torch

    return type(outputs[0])(
        **{name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}
    )
