"""The modules of a model whose decoder names its own as transformers' decoders do."""

from __future__ import annotations

from typing import Any

from harness.measuring.models._protocol import Parts


def around(decoder: Any, **others: Any) -> Parts:
    """others: what of `Parts` lies outside the decoder."""
    return Parts(
        decoder=decoder,
        layers=decoder.layers,
        attention=[layer.self_attn for layer in decoder.layers],
        mlps=[layer.mlp for layer in decoder.layers],
        rotary=decoder.rotary_emb,
        embedding=decoder.embed_tokens,
        **others,
    )
