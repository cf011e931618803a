"""Parts of SmolVLM that no number of its config turns off, left out of a loaded model or turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _by_columns(model: Any) -> None:
    """Squares of patches in the other direction."""
    connector = model.model.connector
    own = connector.pixel_shuffle
    connector.pixel_shuffle = lambda x, factor=2: own(
        x.unflatten(1, (int(len(x[0]) ** 0.5),) * 2).transpose(1, 2).flatten(1, 2), factor
    )


def _backwards(model: Any) -> None:
    """Tiles in the wrong order."""
    model.model.vision_model.register_forward_hook(lambda module, args, out: _turned(out))


def _turned(out: Any) -> Any:
    out.last_hidden_state = out.last_hidden_state.flip(0)
    return out


def _without_places(model: Any) -> None:
    model.model.vision_model.embeddings.position_embedding.weight.data.zero_()


def _tied(model: Any) -> None:
    model.lm_head.weight = model.model.text_model.embed_tokens.weight


def _without_last_norm(model: Any) -> None:
    model.model.vision_model.post_layernorm.forward = lambda x: x


PLANTED: Mapping[str, Callable[[Any], None]] = {
    "pixel shuffle by columns": _by_columns,
    "tiles in the wrong order": _backwards,
    "patches without places": _without_places,
    "a head tied to the embedding": _tied,
    "the tower's last norm left out": _without_last_norm,
}
