"""Whether a picture is as wide for its height as its row's own, as far as the model can see it.

Families differ in what they keep. Where a batch says in how many rows and columns a picture is
shown, that is asked. Where every picture is squeezed to a square, what stands in the square is: a
picture that was squeezed to it before comes out the same, one that was cropped or laid on a larger
ground first does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.data.pictures import lay_on_white
from harness.measuring.audit.pictures import NEARER, Given, Pictures

# What is compared of two squares, in px a side: the parts of a crop, not its grain.
_SIDE = 64
# Parts of a side that a crop may keep, or a picture may have of the ground that it lies on.
_PARTS = tuple(step / 20 for step in range(6, 20))
# Levels by which two resizers of one picture may differ, on the mean.
_ALIKE = 2.0


@dataclass(frozen=True)
class Shape:
    """Width over height: shown to the model, and the row's own."""

    shown: float
    own: float

    def __str__(self) -> str:
        return f"{self.shown:.2g} for {self.own:.2g}"


def judged(pictures: Pictures, given: Given) -> bool:
    """Whether anything in a batch tells how wide a picture is for its height."""
    family: Any = pictures.training.family
    if family is None or given.grid is None:
        return False
    return family.proportions(given.grid) is not None or given.pixels is not None


def changed(pictures: Pictures, given: Given) -> Shape | None:
    """What a `judged` picture's shape was changed to; None where it is its own."""
    family: Any = pictures.training.family
    own = lay_on_white(pictures.own[given.row.index][given.place])
    ratio = own.width / own.height
    assert given.grid is not None
    stated = family.proportions(given.grid)
    if stated is None:
        factor = _squeezed(family.levels(given.pixels.detach().float().cpu().numpy())[0], own)
        return None if factor is None else Shape(ratio * factor, ratio)
    if stated.least <= ratio <= stated.most:
        return None
    # Of a line a family keeps what it can.
    alone = family.one_picture(pictures.training.processor, own).grid
    return None if tuple(alone) == given.grid else Shape(stated.shown, ratio)


def _squeezed(levels: Any, own: Any) -> float | None:
    """By what a picture was made wider or narrower before it was squeezed to a square; None where
    it was not. levels: uint8 (…, 3, side, side), the last square the whole picture."""
    import numpy as np
    from PIL import Image

    square = levels.reshape(-1, *levels.shape[-3:])[-1].transpose(1, 2, 0)
    seen = Image.fromarray(square).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    # Four times as fine as what is compared, so that a crop of it is as sharp.
    fine = own.convert("RGB").resize((4 * _SIDE, 4 * _SIDE), Image.Resampling.BOX)

    def gap(one: Any, other: Any) -> float:
        return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())

    as_it_is = gap(seen, fine.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    if as_it_is <= _ALIKE:
        return None
    nearest, factor = min((gap(*pair), factor) for pair, factor in _otherwise(seen, fine))
    return factor if nearest < NEARER * as_it_is else None


def _otherwise(seen: Any, fine: Any) -> Iterator[tuple[tuple[Any, Any], float]]:
    """((what of the square, what of the picture) would be alike, by how much wider it then is)."""
    from PIL import Image

    def resized(picture: Any, part: tuple[float, float], size: tuple[int, int]) -> Any:
        """The middle of a picture, so much of its width and height."""
        sides = zip(picture.size, part, strict=True)
        margins = [side * (1 - share) / 2 for side, share in sides]
        box = (*margins, picture.width - margins[0], picture.height - margins[1])
        return picture.resize(size, Image.Resampling.BOX, box=box)

    for share in _PARTS:
        inner = round(_SIDE * share)
        for part, size, wider in (
            ((share, 1.0), (inner, _SIDE), share),
            ((1.0, share), (_SIDE, inner), 1 / share),
        ):
            yield (seen, resized(fine, part, seen.size)), wider
            there = inner / _SIDE
            ground = (there, 1.0) if size[0] == inner else (1.0, there)
            yield (resized(seen, ground, size), fine.resize(size, Image.Resampling.BOX)), 1 / wider
