"""Batches of about a given number of tokens per sample: real rows, pictures sized to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.catalogue import products, render, row
from harness.collate import make_collator
from harness.models import family
from harness.recipe import REFERENCE, Recipe, training_messages

# 14 px patches, merged 2 x 2: one image token is a square of 28 px.
TOKEN_SIDE = 28


def side_for(image_tokens: int) -> int:
    """Side in pixels of the square picture with about that many image tokens."""
    return TOKEN_SIDE * max(2, round(image_tokens**0.5))


def conversations(count: int, side: int, recipe: Recipe = REFERENCE) -> list[Any]:
    """The recipe's conversations over catalogue products, each picture `side` px square."""
    made = []
    for product in products("train")[:count]:
        held = row(product)
        picture = render(product).resize((side, side))
        made.append(training_messages({**held, "image": picture}, recipe))
    return made


def text_tokens(snapshot: Path, size: int, recipe: Recipe = REFERENCE) -> int:
    """Tokens per sample beside the picture's, over the first `size` products."""
    collate = make_collator(family("qwen2_vl").load_processor(snapshot), recipe)
    smallest = collate(conversations(size, 2 * TOKEN_SIDE, recipe))
    return int(smallest["attention_mask"].sum()) // size - 4


def batches(
    snapshot: Path, tokens: int, *, count: int, size: int, recipe: Recipe = REFERENCE
) -> list[dict[str, Any]]:
    """`count` collated batches of `size` samples with about `tokens` tokens each, on the CPU.

    The text's own length is measured first; the picture takes the rest.
    """
    processor = family("qwen2_vl").load_processor(snapshot)
    collate = make_collator(processor, recipe)
    picture = max(4, tokens - text_tokens(snapshot, size, recipe))
    chosen = conversations(count * size, side_for(picture), recipe)
    return [collate(chosen[i : i + size]) for i in range(0, count * size, size)]
