"""Parts of InternVL3 that its config does not turn off, left out of a loaded model or turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _by_columns(model: Any) -> None:
    """Squares of patches in the other direction."""
    own = model.model.pixel_shuffle
    model.model.pixel_shuffle = lambda x, scale_factor=0.5: own(
        x.transpose(1, 2).contiguous(), scale_factor
    )


def _backwards(model: Any) -> None:
    """Tiles in the wrong order."""
    model.model.multi_modal_projector.register_forward_hook(lambda module, args, out: out.flip(0))


def _zeroed(name: str) -> Callable[[Any], None]:
    """A parameter of what embeds patches, all zero."""

    def left_out(model: Any) -> None:
        getattr(model.model.vision_tower.embeddings, name).data.zero_()

    return left_out


def _unscaled(name: str) -> Callable[[Any], None]:
    """Blocks that add what comes, as it is."""

    def left_out(model: Any) -> None:
        for block in model.model.vision_tower.encoder.layer:
            getattr(block, name).data.fill_(1.0)

    return left_out


def _unbiased(name: str) -> Callable[[Any], None]:
    """A projection of the decoder without its bias."""

    def left_out(model: Any) -> None:
        for layer in model.model.language_model.layers:
            getattr(layer.self_attn, name).bias.data.zero_()

    return left_out


def _tied(model: Any) -> None:
    model.lm_head.weight = model.model.language_model.embed_tokens.weight


def _unnormed(model: Any) -> None:
    model.model.multi_modal_projector.layer_norm.forward = lambda x: x


PLANTED: Mapping[str, Callable[[Any], None]] = {
    "pixel shuffle by columns": _by_columns,
    "tiles in the wrong order": _backwards,
    "patches without places": _zeroed("position_embeddings"),
    "no class token": _zeroed("cls_token"),
    "what attention adds not scaled": _unscaled("lambda_1"),
    "what MLPs add not scaled": _unscaled("lambda_2"),
    "the connector's norm left out": _unnormed,
    "a head tied to the embedding": _tied,
    "queries without biases": _unbiased("q_proj"),
    "keys without biases": _unbiased("k_proj"),
    "values without biases": _unbiased("v_proj"),
}
