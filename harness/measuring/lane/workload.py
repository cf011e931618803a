"""Batches of about a given number of tokens per sample: real rows, pictures sized to fit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.catalogue import products, render, row
from harness.measuring.models import family, of_snapshot
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.training.collate import make_collator
from harness.recipe.published import REFERENCE, Recipe, training_messages

# Picture tokens of mixed samples, as shares of the middle: a spread of nine, the mean unchanged.
SPREAD = (0.25, 0.5, 1.0, 2.25)


def conversations(sides: Sequence[int], recipe: Recipe = REFERENCE) -> list[Any]:
    """The recipe's conversations over catalogue products, a square picture of each side in px.

    Raises ValueError for more sides than there are products.
    """
    chosen = []
    for product, side in zip(products("train")[: len(sides)], sides, strict=True):
        columns = row(product)
        picture = render(product).resize((side, side))
        chosen.append(training_messages({**columns, "image": picture}, recipe))
    return chosen


def text_tokens(snapshot: Path, size: int, recipe: Recipe = REFERENCE) -> int:
    """Tokens per sample beside the picture's, over the first `size` products."""
    loader = family(of_snapshot(snapshot))
    processor = load_processor(snapshot)
    collate = make_collator(processor, recipe, loader)
    smallest = collate(conversations([loader.picture_side(4)] * size, recipe))
    pictures = sum(loader.image_tokens(processor, smallest, [1] * size))
    return (int(smallest["attention_mask"].sum()) - pictures) // size


def sides_for(
    snapshot: Path,
    tokens: int,
    count: int,
    *,
    size: int,
    mixed: bool = False,
    recipe: Recipe = REFERENCE,
) -> list[int]:
    """Sides in px of `count` pictures, so that samples have about `tokens` tokens each.

    The text's own length is measured first, over `size` products; the picture takes the rest.
    mixed: in equal numbers SPREAD's shares of it, in an order drawn with a fixed seed.
    """
    picture = max(4, tokens - text_tokens(snapshot, size, recipe))
    shares = [SPREAD[i % len(SPREAD)] if mixed else 1.0 for i in range(count)]
    random.Random(0).shuffle(shares)
    side_for = family(of_snapshot(snapshot)).picture_side
    return [side_for(max(4, round(picture * share))) for share in shares]


def batches(
    snapshot: Path,
    tokens: int,
    *,
    count: int,
    size: int,
    mixed: bool = False,
    group: int = 0,
    padding: str | None = None,
    recipe: Recipe = REFERENCE,
) -> list[dict[str, Any]]:
    """`count` collated batches of `size` samples with about `tokens` tokens each, on the CPU.

    padding: `right`, or None for the recipe's own side, the left, where some lengths have no
    finite gradient on Hopper (trajectory.padded_gradient_is_finite). mixed: pictures of several
    sizes, padded on the right for that reason. group: so many
    batches' samples each (a step's) are sorted by length before they are dealt into batches; 0
    leaves the order.
    """
    side = "right" if mixed else padding
    processor = load_processor(snapshot, padding_side=side)
    collate = make_collator(processor, recipe, family(of_snapshot(snapshot)))
    sides = sides_for(snapshot, tokens, count * size, size=size, mixed=mixed, recipe=recipe)
    chosen = conversations(sides, recipe)
    if group:
        lengths = [int(collate([one])["input_ids"].shape[1]) for one in chosen]
        order = sorted(range(len(chosen)), key=lambda i: (i // (group * size), lengths[i]))
        chosen = [chosen[i] for i in order]
    return [collate(chosen[i : i + size]) for i in range(0, count * size, size)]
