"""A tower that is run once a picture, or a picture at a time: what it hands over."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.measuring.models import qwen2_vl
from harness.measuring.ways.tower import Tower, _by_picture, _cached, fingerprints


def test_pictures_are_known_again_by_every_pixel() -> None:
    drawn = torch.Generator().manual_seed(1)
    pixels = torch.randn(24, 1176, generator=drawn)
    grid = torch.tensor([[1, 4, 4], [1, 2, 4]])
    memory = Tower()
    first, second = fingerprints(pixels.split([16, 8]), grid, memory)
    # In another batch, beside a longer picture, each keeps its name.
    long = torch.randn(64, 1176, generator=drawn)
    names = fingerprints(
        (long, pixels[16:], pixels[:16]), torch.tensor([[1, 8, 8], [1, 2, 4], [1, 4, 4]]), memory
    )
    assert names[1:] == [second, first]
    # The last bit of one pixel, two pixels exchanged, and the same pixels in another shape.
    moved = pixels.clone()
    moved.view(torch.int32)[3, 5] ^= 1
    swapped = pixels.clone()
    swapped[0, [0, 1]] = swapped[0, [1, 0]]
    for other in (moved, swapped):
        assert fingerprints(other[:16].split([16]), grid[:1], memory) != [first]
    assert fingerprints(pixels[:16].split([16]), torch.tensor([[1, 2, 8]]), memory) != [first]


class Several(dict[str, Any]):
    """A tower's output that holds more than what enters the decoder."""


@pytest.mark.parametrize("way", ["cached", "by_picture"])
@pytest.mark.parametrize("kind", [Several, tuple])
def test_a_tower_that_hands_over_several_results_still_does(way: str, kind: type) -> None:
    """A row a token each, four patches a token: what later layers are fed beside the embeddings."""
    cut = qwen2_vl.CUT

    def tower(hidden_states: Any, grid_thw: Any) -> Any:
        tokens = hidden_states.reshape(-1, 4, hidden_states.shape[1]).mean(1)
        fed = [tokens + 1, tokens + 2]
        return (tokens, fed) if kind is tuple else Several(pooler_output=tokens, fed=fed)

    pixels, grids = torch.randn(24, 6), torch.tensor([[1, 4, 4], [1, 2, 4]])
    wrapped = {"cached": _cached, "by_picture": _by_picture}[way](tower, Tower(), cut)
    whole = tower(pixels, grids)
    # The second time from memory, the pictures the other way round.
    for order in ([0, 1], [1, 0]):
        parts = pixels.split([16, 8])
        out = wrapped(torch.cat([parts[i] for i in order]), grid_thw=grids[order])
        assert type(out) is kind
        first, fed = out if kind is tuple else out.values()
        tokens, wanted = whole if kind is tuple else whole.values()
        for got, expected in zip((first, *fed), (tokens, *wanted), strict=True):
            shares = expected.split([4, 2])
            assert torch.equal(got, torch.cat([shares[i] for i in order]))


@pytest.mark.parametrize("way", ["cached", "by_picture"])
def test_what_a_tower_leaves_out_of_a_list_stays_out(way: str) -> None:
    """The library keeps the places of blocks whose output nobody asked for."""
    cut = qwen2_vl.CUT

    def tower(hidden_states: Any, grid_thw: Any) -> Any:
        return Several(last=hidden_states + 1, by_block=(None, hidden_states + 2))

    pixels, grids = torch.randn(24, 6), torch.tensor([[1, 4, 4], [1, 2, 4]])
    out = {"cached": _cached, "by_picture": _by_picture}[way](tower, Tower(), cut)(
        pixels, grid_thw=grids
    )
    left_out, kept = out["by_block"]
    assert left_out is None
    assert torch.equal(kept, pixels + 2)
    assert torch.equal(out["last"], pixels + 1)
