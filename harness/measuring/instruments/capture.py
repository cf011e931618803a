"""Forward hooks that keep what really flows through a model, whatever its modules are called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.measuring.models import parts


@dataclass
class Seen:
    """What one forward pass showed.

    patches: the tensor entering the vision patch embedding. vision: what leaves the tower, or the
    connector behind it.
    positions: what enters the language model's rotary embedding, int64 (axes, batch, sequence).
    embeddings: what enters the decoder. mask: which keys the mask handed to it lets be seen,
    (batch, sequence), or None. layers: the output of every decoder layer.
    """

    patches: Any = None
    vision: Any = None
    positions: Any = None
    embeddings: Any = None
    mask: Any = None
    layers: list[Any] = field(default_factory=list)


def _tensor(value: Any) -> Any:
    """The tensor of a module's output: itself, a tuple's first, a model output's hidden states."""
    import torch

    if isinstance(value, torch.Tensor):
        return value
    pooled = getattr(value, "pooler_output", None)
    if pooled is not None:
        return pooled
    return getattr(value, "last_hidden_state", None) if hasattr(value, "keys") else value[0]


def _keys(mask: Any) -> Any:
    """bool or int64 (batch, sequence): which keys are seen at all. mask: what the decoder is given,
    of two axes, or a mask of four by kind of layer; None for anything else."""
    import torch

    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        return mask.detach().clone()
    kinds = list(mask.values()) if isinstance(mask, dict) else []
    if not kinds or any(kind is None or kind.ndim != 4 for kind in kinds):
        return None
    # True, or nothing added to a score: this query sees that key.
    sees = [kind if kind.dtype == torch.bool else kind == 0 for kind in kinds]
    return torch.stack([kind.any(dim=2).any(dim=1) for kind in sees]).any(dim=0)


@contextmanager
def captured(model: Any) -> Iterator[Seen]:
    """Hook the model for one or more forward passes; the last one's values are kept."""
    seen = Seen()
    modules = parts(model)
    leaving = modules.tower if modules.leaving is None else modules.leaving

    def enters_patches(module: Any, args: Any, kwargs: Any) -> None:
        seen.patches = (args[0] if args else next(iter(kwargs.values()))).detach().clone()

    def leaves_tower(module: Any, args: Any, output: Any) -> None:
        seen.vision = _tensor(output).detach().clone()

    def enters_rotary(module: Any, args: Any, kwargs: Any) -> None:
        positions = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        seen.positions = positions.detach().clone()

    def enters_decoder(module: Any, args: Any, kwargs: Any) -> None:
        embeddings = kwargs.get("inputs_embeds")
        seen.embeddings = None if embeddings is None else embeddings.detach().clone()
        mask = kwargs.get("attention_mask")
        seen.mask = _keys(mask)
        seen.layers.clear()

    def leaves_layer(module: Any, args: Any, output: Any) -> None:
        seen.layers.append(_tensor(output).detach().clone())

    handles = [
        modules.patch_embedding.register_forward_pre_hook(enters_patches, with_kwargs=True),
        leaving.register_forward_hook(leaves_tower),
        modules.rotary.register_forward_pre_hook(enters_rotary, with_kwargs=True),
        modules.decoder.register_forward_pre_hook(enters_decoder, with_kwargs=True),
        *(layer.register_forward_hook(leaves_layer) for layer in modules.layers),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
