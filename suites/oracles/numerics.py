"""The functions that transformer models are made of, by their definitions, in float64 by numpy.

Sequences are rows (tokens, width); heads come first where there are any (heads, tokens, width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Weights = Mapping[str, Array]


def weights_of(folder: Path, most: int) -> dict[str, Array]:
    """float64 by the checkpoint's own names. None where its files have more than `most` bytes: a
    forward pass so would take hours."""
    from safetensors.numpy import load_file

    files = sorted(folder.glob("*.safetensors"))
    if sum(path.stat().st_size for path in files) > most:
        return {}
    tensors: dict[str, Array] = {}
    for path in files:
        tensors |= {name: value.astype(np.float64) for name, value in load_file(path).items()}
    return tensors


def linear(x: Array, weights: Weights, name: str) -> Array:
    """x W^T, and the bias where there is one."""
    out = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    return out if bias is None else out + bias


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """Zhang and Sennrich (arXiv 1910.07467)."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def layer_norm(x: Array, weights: Weights, name: str, epsilon: float) -> Array:
    """Ba et al. (arXiv 1607.06450)."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + np.exp(-x))


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return x * sigmoid(x)


def quick_gelu(x: Array) -> Array:
    """x sigmoid(1.702 x)."""
    return x * sigmoid(1.702 * x)


def gelu(x: Array) -> Array:
    """x times the normal distribution's cumulative share (arXiv 1606.08415)."""
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    """Its approximation by tanh, of the same publication."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def heads(x: Array, count: int) -> Array:
    """(tokens, heads · width) as (heads, tokens, width)."""
    return x.reshape(len(x), count, -1).transpose(1, 0, 2)


def joined(x: Array) -> Array:
    """(heads, tokens, width) as (tokens, heads · width)."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def attention(q: Array, k: Array, v: Array, seen: Array, scale: float | None = None) -> Array:
    """Vaswani et al. (arXiv 1706.03762); fewer key heads are each shared by as many query heads in
    a row (arXiv 2305.13245). seen: bool (tokens, tokens), which keys a query sees."""
    shared = len(q) // len(k)
    k, v = k.repeat(shared, axis=0), v.repeat(shared, axis=0)
    scores = q @ k.transpose(0, 2, 1) * (scale or 1.0 / math.sqrt(q.shape[-1]))
    return softmax(np.where(seen, scores, -np.inf)) @ v


def causal(tokens: int) -> Array:
    """bool: itself and what stands before it."""
    return np.tril(np.ones((tokens, tokens), bool))


def frequencies(width: int, theta: float) -> Array:
    """(width / 2,) angles a step, falling (Su et al., arXiv 2104.09864)."""
    return theta ** (-np.arange(0, width, 2) / width)


def rotated(x: Array, angles: Array) -> Array:
    """Pairs (i, i + half) of x turned by angles (tokens, width / 2)."""
    half = angles.shape[-1]
    cos, sin = np.cos(angles), np.sin(angles)
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin, rest], axis=-1)


def by_sections(positions: Sequence[Sequence[int]], steps: Array, sections: Sequence[int]) -> Array:
    """(tokens, width / 2) angles, each run of frequencies by its own axis (arXiv 2409.12191).

    positions: (axes, tokens). sections: frequencies by axis.
    """
    turns = np.asarray(positions, np.float64)[..., None] * steps
    edges = np.cumsum([0, *sections])
    return np.concatenate(
        [turns[i, :, edges[i] : edges[i + 1]] for i in range(len(sections))], axis=-1
    )


def interleaved(positions: Sequence[Sequence[int]], steps: Array, sections: Sequence[int]) -> Array:
    """(tokens, width / 2) angles, dealt out to the axes in turn (arXiv 2511.21631), fast and slow
    ones to each. An axis that has its share is passed over for the first.

    positions: (axes, tokens). sections: frequencies by axis.
    """
    axes = len(sections)
    dealt = [i % axes if i // axes < sections[i % axes] else 0 for i in range(len(steps))]
    turns = np.asarray(positions, np.float64)
    return np.stack([turns[axis] * step for axis, step in zip(dealt, steps, strict=True)], axis=-1)


def between(old: int, new: int) -> Array:
    """(new, old): what each of `new` places along a side takes of `old` ones, linearly: middles
    stand on middles, and the edges are repeated."""
    places = np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0.0)
    first = np.floor(places).astype(int)
    share = np.zeros((new, old))
    np.add.at(share, (np.arange(new), first), 1.0 - (places - first))
    np.add.at(share, (np.arange(new), np.minimum(first + 1, old - 1)), places - first)
    return share


def cross_entropy(logits: Array, labels: Sequence[int], ignored: int) -> float:
    """Mean of -log p of the next token over those that are not ignored."""
    targets = np.asarray(labels)[1:]
    kept = targets != ignored
    rows = logits[:-1][kept]
    largest = rows.max(-1, keepdims=True)
    log_norm = np.log(np.exp(rows - largest).sum(-1)) + largest[:, 0]
    return float((log_norm - rows[np.arange(len(rows)), targets[kept]]).mean())
