"""What one forward pass of a training shows inside: pixels, positions, mask, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.measuring.audit.training import Training
from harness.measuring.models._any import connector_paths, rotary_of, tower_path


@dataclass
class Inside:
    """None where nothing of the kind was seen.

    pixels: what enters the tower. pictures: rows that leave the connector. embedded: what leaves
    the embedding, (rows, tokens, width). entering: what enters the decoder, as large. positions:
    int64 (axes, rows, tokens) or (rows, tokens), as they enter the rotary embedding; rows may be
    one. mask: what the first layer's attention is given. layer: whether that layer ran.
    """

    pixels: Any = None
    pictures: int | None = None
    embedded: Any = None
    entering: Any = None
    positions: Any = None
    mask: Any = None
    layer: bool = False


@contextmanager
def watched(training: Training) -> Iterator[Inside]:
    """Hook the model for one forward pass."""
    inside, structure = Inside(), training.structure
    _, decoder = structure.decoder
    first = structure.layers[0][1]
    rotary = rotary_of(decoder)

    def enters_tower(module: Any, args: Any, kwargs: Any) -> None:
        inside.pixels = _pixels((*args, *kwargs.values()))

    def leaves_connector(module: Any, args: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        rows = int(tensor.numel() // tensor.shape[-1])
        inside.pictures = rows + (inside.pictures or 0)

    def leaves_embedding(module: Any, args: Any, output: Any) -> None:
        if inside.embedded is None:
            inside.embedded = output.detach().clone()

    def enters_decoder(module: Any, args: Any, kwargs: Any) -> None:
        entering = kwargs.get("inputs_embeds")
        inside.entering = None if entering is None else entering.detach().clone()

    def enters_rotary(module: Any, args: Any, kwargs: Any) -> None:
        places = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
        inside.positions = places.detach().clone()

    def enters_layer(module: Any, args: Any, kwargs: Any) -> None:
        inside.layer, inside.mask = True, kwargs.get("attention_mask")

    handles = [
        structure.core.get_input_embeddings().register_forward_hook(leaves_embedding),
        decoder.register_forward_pre_hook(enters_decoder, with_kwargs=True),
        first.register_forward_pre_hook(enters_layer, with_kwargs=True),
    ]
    if rotary is not None:
        handles.append(rotary.register_forward_pre_hook(enters_rotary, with_kwargs=True))
    tower, connectors = _seeing(training)
    if tower is not None:
        handles.append(tower.register_forward_pre_hook(enters_tower, with_kwargs=True))
    handles += [module.register_forward_hook(leaves_connector) for module in connectors]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


def _seeing(training: Training) -> tuple[Any, list[Any]]:
    """(what pixels enter, what leads into the decoder)."""
    core = training.core
    if training.family is not None:
        parts = training.family.parts(core)
        return parts.patch_embedding, [parts.connector]
    path = tower_path(core)
    tower = core.get_submodule(path) if path else None
    return tower, [core.get_submodule(path) for path in connector_paths(core)]


def _pixels(given: Any) -> Any:
    """The first tensor of numbers with a fraction."""
    import torch

    tensors = [v for v in given if isinstance(v, torch.Tensor)]
    return next((v.detach().clone() for v in tensors if v.is_floating_point()), None)
