"""Parts of InternVL3 that its config does not turn off, left out of a loaded model or turned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .planted import Plant, set_to


def _by_columns(model: Any) -> None:
    """Squares of patches in the other direction."""
    own = model.model.pixel_shuffle
    model.model.pixel_shuffle = lambda x, scale_factor=0.5: own(
        x.transpose(1, 2).contiguous(), scale_factor
    )


def _backwards(model: Any) -> None:
    """Tiles in the wrong order."""
    model.model.multi_modal_projector.register_forward_hook(lambda module, args, out: out.flip(0))


def _tied(model: Any) -> None:
    model.lm_head.weight = model.model.language_model.embed_tokens.weight


def _unnormed(model: Any) -> None:
    model.model.multi_modal_projector.layer_norm.forward = lambda x: x


PLANTED: Mapping[str, Plant] = {
    "pixel shuffle by columns": _by_columns,
    "tiles in the wrong order": _backwards,
    "patches without places": set_to("embeddings.position_embeddings", 0.0),
    "no class token": set_to("embeddings.cls_token", 0.0),
    "what attention adds not scaled": set_to("lambda_1", 1.0),
    "what MLPs add not scaled": set_to("lambda_2", 1.0),
    "the connector's norm left out": _unnormed,
    "a head tied to the embedding": _tied,
    "queries without biases": set_to("q_proj.bias", 0.0, "language_model"),
    "keys without biases": set_to("k_proj.bias", 0.0, "language_model"),
    "values without biases": set_to("v_proj.bias", 0.0, "language_model"),
}
