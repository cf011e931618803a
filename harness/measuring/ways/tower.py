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

    kept: by picture, the tower's results by name: (image tokens, width), or a list of such where
    a tower hands several over. output: what puts results of a batch together as the tower does.
    """

    kept: dict[Key, dict[Any, Any]] = field(default_factory=dict)
    output: Callable[[dict[Any, Any]], Any] = dict
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
                memory.output = _put_together(output)
                results = _per_token(output)
                lengths = [len(pictures[i]) for i in new]
                for name, result in results.items():
                    for i, part in zip(new, _split(result, lengths), strict=True):
                        memory.kept.setdefault(keys[i], {})[name] = part
            return memory.output(_joined([memory.kept[key] for key in keys]))

    return forward


def _named(output: Any) -> dict[Any, Any]:
    """A tower's results by name, or by place."""
    import torch

    if isinstance(output, torch.Tensor):
        return {0: output}
    return dict(output.items()) if hasattr(output, "keys") else dict(enumerate(output))


def _put_together(output: Any) -> Callable[[dict[Any, Any]], Any]:
    """What makes of named results an output like that one."""
    import torch

    kind = type(output)
    if isinstance(output, torch.Tensor):
        return lambda named: named[0]
    if hasattr(output, "keys"):
        return lambda named: kind(**named)
    return lambda named: tuple(named.values())


def _tensors(result: Any) -> list[Any]:
    """Of a result that is one, or a list of them; None is in the place of one not asked for."""
    return list(result) if isinstance(result, list | tuple) else [result]


def _per_token(output: Any) -> dict[Any, Any]:
    """Those of its results that have as many rows as what enters the decoder: the pooled one where
    there is one, else the first."""
    named = _named(output)
    tokens = len(named.get("pooler_output", next(iter(named.values()))))
    return {
        name: result
        for name, result in named.items()
        if all(tensor is None or len(tensor) == tokens for tensor in _tensors(result))
    }


def _split(result: Any, patches: Sequence[int]) -> list[Any]:
    """A result's share of every picture. patches: how many each has, before any are merged."""
    parts = []
    for tensor in _tensors(result):
        if tensor is None:
            parts.append([None] * len(patches))
            continue
        ratio = sum(patches) // len(tensor)
        parts.append(tensor.split([n // ratio for n in patches]))
    of_picture = [list(shares) for shares in zip(*parts, strict=True)]
    several = isinstance(result, list | tuple)
    return of_picture if several else [shares[0] for shares in of_picture]


def _joined(pictures: Sequence[dict[Any, Any]]) -> dict[Any, Any]:
    """Results of several pictures in order, by name."""
    import torch

    joined = {}
    for name, first in pictures[0].items():
        shares = zip(*(_tensors(results[name]) for results in pictures), strict=True)
        tensors = [None if share[0] is None else torch.cat(share) for share in shares]
        joined[name] = tensors if isinstance(first, list | tuple) else tensors[0]
    return joined


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
    def forward(*args: Any, **kwargs: Any) -> Any:
        calls = [loader.together([call]) for call in loader.one_by_one(*args, **kwargs)]
        outputs = [inner(*chosen, **named) for chosen, named in calls]
        return _put_together(outputs[0])(_joined([_named(output) for output in outputs]))

    return forward
