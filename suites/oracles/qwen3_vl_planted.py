"""Parts of Qwen3-VL that no number of its config turns off, left out of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _decoder(model: Any) -> Any:
    return model.model.language_model


def _unnormed(name: str) -> Callable[[Any], None]:
    """Queries or keys as their projection gives them."""

    def left_out(model: Any) -> None:
        for layer in _decoder(model).layers:
            getattr(layer.self_attn, name).forward = lambda x: x

    return left_out


def _unfed(number: int) -> Callable[[Any], None]:
    """A merger whose tokens are all zeros."""

    def left_out(model: Any) -> None:
        last = model.model.visual.deepstack_merger_list[number].linear_fc2
        last.weight.data.zero_()
        last.bias.data.zero_()

    return left_out


def _unplaced(model: Any) -> None:
    """Patches without learned positions; they are still turned by row and column."""
    model.model.visual.pos_embed.weight.data.zero_()


def _in_runs(model: Any) -> None:
    """Frequencies in three runs, as in the families before, and not dealt out in turn."""
    rotary = _decoder(model).rotary_emb
    first, second, _ = rotary.mrope_section

    def runs(by_axis: Any) -> Any:
        joined = by_axis[0].clone()
        joined[..., first : first + second] = by_axis[1][..., first : first + second]
        joined[..., first + second :] = by_axis[2][..., first + second :]
        return joined.repeat(1, 1, 2)

    rotary.recomposition_frequencies = runs


# Parts that no number of the config leaves out: what is done to a loaded model.
PLANTED: Mapping[str, Callable[[Any], None]] = {
    "norms of queries left out": _unnormed("q_norm"),
    "norms of keys left out": _unnormed("k_norm"),
    "learned positions of patches left out": _unplaced,
    "frequencies of the axes in runs": _in_runs,
    "the first layer is fed nothing": _unfed(0),
    "the second layer is fed nothing": _unfed(1),
}
