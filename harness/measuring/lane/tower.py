"""The frozen vision tower, run another way: without gradients, once, or a picture at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.measuring import _compat
from harness.recipe.ways import Mode


@dataclass
class Tower:
    """The tower's output by picture set, kept once `cached` asks for it."""

    key: tuple[int, int] = (-1, 0)
    held: dict[tuple[int, int], Any] = field(default_factory=dict)


def wrap_tower(model: Any, mode: Mode) -> Tower | None:
    """Replace the forward of a model's vision tower; None where it is left as it is.

    no_grad: no backward work. cached: besides, one computation per picture set. by_picture: each
    picture goes through alone, as often as there are pictures, gradients as the recipe has them.
    """
    if mode == "recipe":
        return None
    visual = _compat.vision_tower(model)
    memory = Tower()
    inner = visual.forward
    visual.forward = _by_picture(inner) if mode == "by_picture" else _frozen(inner, mode, memory)
    return memory


def _frozen(inner: Callable[..., Any], mode: Mode, memory: Tower) -> Callable[..., Any]:
    import torch

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            if mode == "no_grad":
                return inner(*args, **kwargs)
            if memory.key not in memory.held:
                memory.held[memory.key] = inner(*args, **kwargs)
            held = memory.held[memory.key]
            # Newer releases return an output object and write the split embeddings into it.
            return type(held)(**held) if hasattr(held, "keys") else held

    return forward


def _by_picture(inner: Callable[..., Any]) -> Callable[..., Any]:
    """grid_thw: int64 (pictures, 3); the patches of picture i are the product of its row."""
    import torch

    def forward(hidden_states: Any, grid_thw: Any, **kwargs: Any) -> Any:
        patches = hidden_states.split(grid_thw.prod(-1).tolist())
        rows = grid_thw.split(1)
        found = [
            inner(part, grid_thw=row, **kwargs) for part, row in zip(patches, rows, strict=True)
        ]
        return _joined(found) if hasattr(found[0], "keys") else torch.cat(found)

    return forward


def _joined(outputs: Sequence[Any]) -> Any:
    """One output object whose tensors are the given ones' in order."""
    import torch

    return type(outputs[0])(
        **{name: torch.cat([held[name] for held in outputs]) for name in outputs[0]}
    )
