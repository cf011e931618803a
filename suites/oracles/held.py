"""What the modules of a model compute with, beside their matrices, from a config's numbers alone.

By part (`decoder`, `tower`, `connector`) and setting, the values that differ, in order: epsilon of
norms; width of a head, how many there are, how many of queries share one of keys, what scores are
multiplied by, attention's dropout, its window, whether it is causal; activations; the base of the
decoder's angles; pixels of a patch, frames of one, patches along the side of what becomes one
token. Where a config is silent stands what its publication has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .ladder import Truth

Numbers = Mapping[str, Any]
Settings = Mapping[str, list[Any]]
GELU_TANH = "gelu_pytorch_tanh"


def heads(width: int, count: int, keys: int, scaling: float | None = None) -> Settings:
    """Attention's: by the root of a head's width (arXiv 1706.03762) where nothing else is said."""
    return {
        "width": [width],
        "heads": [count],
        "shared": [count // keys],
        "scaling": [width**-0.5 if scaling is None else scaling],
    }


def llama(text: Numbers, base: float | None = None) -> Settings:
    """A decoder of LLaMA's kind (arXiv 2302.13971). base: where the config keeps it apart."""
    count = text["num_attention_heads"]
    width = text.get("head_dim") or text["hidden_size"] // count
    return {
        **heads(width, count, text.get("num_key_value_heads", count)),
        "causal": [True],
        "epsilon": [text.get("rms_norm_eps", 1e-6)],
        "dropout": [text.get("attention_dropout", 0.0)],
        "activation": [text.get("hidden_act", "silu")],
        "base": [float(text["rope_theta"] if base is None else base)],
    }


def siglip(vision: Numbers, activation: str = GELU_TANH) -> Settings:
    """A tower of SigLIP's kind, or one that is written down as its are."""
    count = vision["num_attention_heads"]
    patch = vision.get("patch_size")
    return {
        **heads(vision["hidden_size"] // count, count, count),
        "causal": [False],
        "epsilon": [vision.get("layer_norm_eps", 1e-6)],
        "dropout": [vision.get("attention_dropout", 0.0)],
        "activation": [vision.get("hidden_act", activation)],
        **({"patch": [patch]} if isinstance(patch, int) else {}),
    }


def merging(vision: Numbers, width: int, activation: str) -> Settings:
    """A tower (arXiv 2409.12191) that merges squares of patches by an MLP with GELU, and whose
    norms' epsilon is no number of the config. width: of its patches' vectors."""
    count = vision["num_heads"]
    return {
        **heads(width // count, count, count),
        "causal": [False],
        "epsilon": [1e-6],
        "dropout": [0.0],
        "activation": sorted({"gelu", vision.get("hidden_act", activation)}),
        "patch": [vision["patch_size"]],
        "frames": [vision["temporal_patch_size"]],
        "merge": [vision["spatial_merge_size"]],
    }


def truth(settings: Mapping[str, Settings], origin: str) -> Iterator[Truth]:
    """Rung 6. settings: by part. Not every release keeps each where it can be read."""
    cases = {
        f"{part}.{name}": values
        for part, named in settings.items()
        for name, values in named.items()
    }
    why = "the numbers of the snapshot's config.json, and its publication's where that is silent"
    yield Truth("model", "held", cases, origin, why, required=False)
