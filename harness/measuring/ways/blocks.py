"""The tower's blocks compiled around their attention, which stays the library's fused kernel.

torch.compile of a whole block breaks where the library reads the pictures' lengths off the device
in the middle of its attention, three times a block: it takes minutes and gains little. Here the
lengths are read once a forward pass, not at all where the grids are on the CPU, and each block is
two compiled pieces. Attention's operands are narrowed in the piece that makes them, as autocast
would narrow them; the patch embedding, whose kernel is its stride, is one matrix product.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from harness.errors import Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring.models import parts
from harness.measuring.ways.applied import Change, Ledger
from harness.measuring.ways.compiling import compiled

LENGTHS = "_harness_lengths"
# transformers' function beside the block's class.
ROTATE = "apply_rotary_pos_emb_vision"
# Batches' grids whose positions are kept: some megabytes.
KEPT = 256


def compile_blocks(model: Any, ledger: Ledger) -> None:
    """Give every tower block a forward of two compiled pieces.

    The same operations in the same order on tensors of any length; each picture attends to
    itself alone, in one kernel call where all are of one size. Raises NotRunnable for another
    tower than Qwen2-VL's.
    """
    tower, blocks = parts(model).tower, list(parts(model).blocks)
    rotate = getattr(sys.modules[type(blocks[0]).__module__], ROTATE, None)
    if rotate is None:
        raise NotRunnable(f"{type(blocks[0]).__name__} cannot be compiled in two pieces.")
    if "position_embeddings" not in inspect.signature(blocks[0].forward).parameters:
        raise NotRunnable(
            f"{type(blocks[0]).__name__} of this transformers is given no rotations to share; the "
            "tower's blocks are compiled on a newer release.",
            Lack.LIBRARY,
        )
    before, after = compiled(_before), compiled(_after)
    for block in blocks:
        ledger.attribute(block, "forward", _forward(block, rotate, before, after))
    ledger.changes.append(
        Change("tower", "its blocks", "eager", "torch.compile in two pieces", len(blocks))
    )
    _embed_by_product(tower.patch_embed, ledger)
    if _compat.tower_takes_positions():
        ledger.attribute(tower, "forward", _positions_ahead(tower))


def _embed_by_product(embedding: Any, ledger: Ledger) -> None:
    """The patch embedding's convolution covers every pixel once: the same sums as one product."""
    import torch

    convolution = embedding.proj

    def forward(hidden_states: Any) -> Any:
        weight = convolution.weight
        flat = hidden_states.reshape(-1, weight[0].numel()).to(weight.dtype)
        return torch.nn.functional.linear(flat, weight.flatten(1), convolution.bias)

    ledger.attribute(embedding, "forward", forward)
    ledger.changes.append(
        Change("tower", type(embedding).__name__, "a convolution", "a matrix product")
    )


def _positions_ahead(tower: Any) -> Callable[..., Any]:
    """The tower's forward for grids on the CPU: positions are made there, once for each grid.

    Grids on the device go the library's way.
    """
    inner, kept = tower.forward, dict[tuple[tuple[int, ...], ...], Any]()

    @functools.wraps(inner)
    def forward(hidden_states: Any, grid_thw: Any, **rest: Any) -> Any:
        if grid_thw.device.type != "cpu":
            return inner(hidden_states, grid_thw=grid_thw, **rest)
        key = tuple(tuple(row) for row in grid_thw.tolist())
        if key not in kept:
            if len(kept) >= KEPT:
                kept.clear()
            positions = _compat.tower_positions(grid_thw, tower.spatial_merge_size)
            kept[key] = positions.to(hidden_states.device)
        return inner(hidden_states, grid_thw=grid_thw, position_ids=kept[key], **rest)

    return forward


def _before(
    block: Any, rotate: Any, hidden: Any, cos: Any, sin: Any, dtype: Any
) -> tuple[Any, Any, Any]:
    """hidden: (patches, width). Query, key, value in dtype, each (patches, heads, head width)."""
    length, attention = hidden.shape[0], block.attn
    joined = attention.qkv(block.norm1(hidden))
    query, key, value = joined.reshape(length, 3, attention.num_heads, -1).permute(1, 0, 2, 3)
    query, key = rotate(query, key, cos, sin)
    return tuple(part.to(dtype).contiguous() for part in (query, key, value))


def _after(block: Any, hidden: Any, attended: Any) -> Any:
    """attended: (patches, width)."""
    hidden = hidden + block.attn.proj(attended)
    return hidden + block.mlp(block.norm2(hidden))


def _lengths(cu_seqlens: Any) -> list[int]:
    """Patches of each picture, read off the device once per tensor."""
    lengths: list[int] | None = getattr(cu_seqlens, LENGTHS, None)
    if lengths is None:
        lengths = (cu_seqlens[1:] - cu_seqlens[:-1]).tolist()
        setattr(cu_seqlens, LENGTHS, lengths)
    return lengths


def _attend(query: Any, key: Any, value: Any, lengths: list[int], scale: float) -> Any:
    """(patches, heads, width) each; every picture by itself. (patches, heads * width)."""
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention
    total, heads, width = query.shape
    if len(set(lengths)) == 1:
        rows = [t.view(-1, lengths[0], heads, width).transpose(1, 2) for t in (query, key, value)]
        return attend(*rows, scale=scale).transpose(1, 2).reshape(total, heads * width)
    parts = zip(*(t.split(lengths) for t in (query, key, value)), strict=True)
    joined = [attend(*(t.transpose(0, 1)[None] for t in part), scale=scale) for part in parts]
    return torch.cat([m[0].transpose(0, 1).reshape(-1, heads * width) for m in joined])


def _forward(block: Any, rotate: Any, before: Any, after: Any) -> Callable[..., Any]:
    # Some releases keep no `head_dim` on the module; its parts always say it.
    scale = float((block.attn.proj.in_features / block.attn.num_heads) ** -0.5)

    def forward(
        hidden_states: Any, cu_seqlens: Any, position_embeddings: Any = None, **_: Any
    ) -> Any:
        import torch

        cos, sin = position_embeddings
        device = hidden_states.device.type
        # What autocast would make of attention's operands; without it they stay float32.
        narrow = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if narrow else torch.float32
        query, key, value = before(block, rotate, hidden_states, cos, sin, dtype)
        attended = _attend(query, key, value, _lengths(cu_seqlens), scale)
        return after(block, hidden_states, attended)

    return forward
