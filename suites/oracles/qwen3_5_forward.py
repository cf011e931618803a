"""Qwen3.5's decoder in float64 by numpy: gated delta networks (Yang et al., arXiv 2412.06464) and
gated attention, by their publications and the numbers of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import numerics
from .ladder import Sample

DECODER = "model.language_model"
# Under the roots of sums of squares, as published kernels have it.
LEAST = 1e-6


def decoder(
    weights: numerics.Weights,
    config: Mapping[str, Any],
    sample: Sample,
    picture_id: int,
    seen: Sequence[Any],
) -> Any:
    """float64 (tokens, vocabulary). seen: by picture what the tower makes of it (tokens, width)."""
    text, ids = config["text_config"], np.asarray(sample.ids)
    hidden = weights[f"{DECODER}.embed_tokens.weight"][ids]
    if seen:
        hidden[ids == picture_id] = np.concatenate(seen)
    rope = text["rope_parameters"]
    turned = int(text["head_dim"] * rope["partial_rotary_factor"])
    steps = numerics.frequencies(turned, rope["rope_theta"])
    angles = numerics.interleaved(sample.positions, steps, rope["mrope_section"])
    for number, kind in enumerate(text["layer_types"]):
        at = f"{DECODER}.layers.{number}"
        x = norm(weights, f"{at}.input_layernorm", text, hidden)
        if kind == "full_attention":
            hidden = hidden + attended(weights, f"{at}.self_attn", text, x, angles)
        else:
            hidden = hidden + remembered(weights, f"{at}.linear_attn", text, x)
        x = norm(weights, f"{at}.post_attention_layernorm", text, hidden)
        gate, up = (numerics.linear(x, weights, f"{at}.mlp.{n}_proj") for n in ("gate", "up"))
        hidden = hidden + numerics.linear(numerics.silu(gate) * up, weights, f"{at}.mlp.down_proj")
    hidden = norm(weights, f"{DECODER}.norm", text, hidden)
    tied = config["tie_word_embeddings"]
    return hidden @ weights[f"{DECODER}.embed_tokens.weight" if tied else "lm_head.weight"].T


def norm(weights: numerics.Weights, name: str, text: Mapping[str, Any], x: Any) -> Any:
    """What is learnt is the distance from one."""
    return numerics.rms_norm(x, 1.0 + weights[f"{name}.weight"], text["rms_norm_eps"])


def attended(
    weights: numerics.Weights, at: str, text: Mapping[str, Any], x: Any, angles: Any
) -> Any:
    """Attention whose heads are gated; of a head the first part is turned. A head's query and gate
    lie one behind the other."""
    both = numerics.heads(numerics.linear(x, weights, f"{at}.q_proj"), text["num_attention_heads"])
    q, gate = np.split(both, 2, axis=-1)
    count = text["num_key_value_heads"]
    k, v = (numerics.heads(numerics.linear(x, weights, f"{at}.{n}_proj"), count) for n in "kv")
    q = numerics.rotated(norm(weights, f"{at}.q_norm", text, q), angles)
    k = numerics.rotated(norm(weights, f"{at}.k_norm", text, k), angles)
    mixed = numerics.attention(q, k, v, numerics.causal(len(x)))
    out = numerics.joined(mixed * numerics.sigmoid(gate))
    return numerics.linear(out, weights, f"{at}.o_proj")


def remembered(weights: numerics.Weights, at: str, text: Mapping[str, Any], x: Any) -> Any:
    """A gated delta network, token by token."""
    keys, values = text["linear_num_key_heads"], text["linear_num_value_heads"]
    width = keys * text["linear_key_head_dim"]
    mixed = numerics.silu(
        convolved(numerics.linear(x, weights, f"{at}.in_proj_qkv"), weights[f"{at}.conv1d.weight"])
    )
    q, k, v = np.split(mixed, [width, 2 * width], axis=-1)
    q, k = (unit(numerics.heads(y, keys)).repeat(values // keys, axis=0) for y in (q, k))
    out = states_read(
        q / np.sqrt(text["linear_key_head_dim"]),
        k,
        numerics.heads(v, values),
        kept=np.exp(
            -np.exp(weights[f"{at}.A_log"])
            * softplus(numerics.linear(x, weights, f"{at}.in_proj_a") + weights[f"{at}.dt_bias"])
        ),
        written=numerics.sigmoid(numerics.linear(x, weights, f"{at}.in_proj_b")),
    )
    out = numerics.rms_norm(out, weights[f"{at}.norm.weight"], text["rms_norm_eps"])
    gate = numerics.silu(numerics.heads(numerics.linear(x, weights, f"{at}.in_proj_z"), values))
    return numerics.linear(numerics.joined(out * gate), weights, f"{at}.out_proj")


def convolved(x: Any, kernel: Any) -> Any:
    """Each channel by itself, over what stands before a token and itself. kernel: (channels, 1,
    steps), the last of them for the token itself."""
    steps = kernel.shape[-1]
    before = np.concatenate([np.zeros((steps - 1, x.shape[-1])), x])
    shifted = np.stack([before[i : i + len(x)] for i in range(steps)], axis=-1)
    return (shifted * kernel[:, 0]).sum(-1)


def unit(x: Any) -> Any:
    """Of length one."""
    return x / np.sqrt((x**2).sum(-1, keepdims=True) + LEAST)


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return np.logaddexp(0.0, x)


def states_read(q: Any, k: Any, v: Any, *, kept: Any, written: Any) -> Any:
    """float64 (heads, tokens, width of a value): S_t = kept S_(t-1) (1 - written k k') + written v
    k', read by S_t q. kept, written: (tokens, heads), how much of the state stays and how much of a
    value enters it."""
    state = np.zeros((len(q), v.shape[-1], k.shape[-1]))
    out = np.empty(v.shape)
    for t in range(q.shape[1]):
        key, value = k[:, t, None, :], v[:, t, :, None]
        stays, enters = kept[t, :, None, None], written[t, :, None, None]
        state = stays * state
        state = state - enters * (state @ key.transpose(0, 2, 1)) @ key + enters * value @ key
        out[:, t] = (state @ q[:, t, :, None])[..., 0]
    return out
