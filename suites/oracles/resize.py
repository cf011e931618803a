"""The published resize rule and patch order, worked in exact integers where it can be.

Rule: both sides rounded to multiples of 28 (half to even, as Python's round); if the area then
exceeds the maximum, both sides are divided by sqrt(h·w / max) and rounded down; if it is below
the minimum, multiplied by sqrt(min / (h·w)) and rounded up. Longer than 200:1 is refused.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np
from PIL import Image

FACTOR = 28
PATCH, TEMPORAL, MERGE = 14, 2, 2
PROCESSOR_LIMITS = (3136, 12_845_056)
FETCH_LIMITS = (4 * 28 * 28, 16_384 * 28 * 28)
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


class TooLong(ValueError):
    """The picture is more than 200 times as long as wide."""


def _floor_scaled(side: int, numerator: int, denominator: int) -> int:
    """floor(side · sqrt(numerator/denominator) / 28) in integers."""
    square = Fraction(side * side * numerator, denominator * FACTOR * FACTOR)
    return isqrt(square.numerator // square.denominator)


def _ceil_scaled(side: int, numerator: int, denominator: int) -> int:
    square = Fraction(side * side * numerator, denominator * FACTOR * FACTOR)
    root = isqrt(square.numerator // square.denominator)
    return root if root * root == square else root + 1


def resized(height: int, width: int, limits: tuple[int, int], *, least: int = 0) -> tuple[int, int]:
    """(height, width) after the rule. least: qwen_vl_utils' floor of one factor per side."""
    if max(height, width) > 200 * min(height, width):
        raise TooLong(f"{height}×{width}")
    low, high = limits
    h = max(least, round(Fraction(height, FACTOR)) * FACTOR)
    w = max(least, round(Fraction(width, FACTOR)) * FACTOR)
    if h * w > high:
        h = max(least, _floor_scaled(height, high, height * width) * FACTOR)
        w = max(least, _floor_scaled(width, high, height * width) * FACTOR)
    elif h * w < low:
        h = _ceil_scaled(height, low, height * width) * FACTOR
        w = _ceil_scaled(width, low, height * width) * FACTOR
    return h, w


def on_the_edge(height: int, width: int, limits: tuple[int, int]) -> bool:
    """Whether a picture is scaled and a side becomes a whole multiple of 28: the last bit of a
    float decides there."""
    low, high = limits
    area = round(Fraction(height, FACTOR)) * round(Fraction(width, FACTOR)) * FACTOR**2
    if low <= area <= high:
        return False
    bound = high if area > high else low
    for side in (height, width):
        square = Fraction(side * side * bound, height * width * FACTOR * FACTOR)
        if square.denominator == 1 and isqrt(square.numerator) ** 2 == square.numerator:
            return True
    return False


def grid(height: int, width: int) -> tuple[int, int, int]:
    """(t, h, w) in patches of an already resized still picture."""
    return 1, height // PATCH, width // PATCH


def image_tokens(height: int, width: int) -> int:
    """Image tokens of an already resized picture: one per 28×28 pixels."""
    return (height // FACTOR) * (width // FACTOR)


def bicubic(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Rows first, then columns, as Pillow up to the reference stack's 10.4 does it.

    size: (height, width). Pillow 13 resizes columns first; each pass alone is the same, so this
    fixes the result.
    """
    height, width = size
    rows = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return rows.resize((width, height), Image.Resampling.BICUBIC)


def patches(pixels: Any) -> Any:
    """float32 (h·w patches, 1176) of an already resized RGB picture, uint8 (height, width, 3).

    Order: merged 2×2 blocks row by row, inside a block its four patches, inside a patch channel,
    time (the still frame twice), row, column. Values: (v/255 - mean) / std.
    """
    array = (np.asarray(pixels, dtype=np.float64) / 255.0 - MEAN) / STD
    rows, columns = array.shape[0] // PATCH, array.shape[1] // PATCH
    out = []
    for block_row in range(0, rows, MERGE):
        for block_column in range(0, columns, MERGE):
            for r in range(block_row, block_row + MERGE):
                for c in range(block_column, block_column + MERGE):
                    tile = array[r * PATCH : (r + 1) * PATCH, c * PATCH : (c + 1) * PATCH]
                    channels = tile.transpose(2, 0, 1)
                    out.append(np.stack([channels] * TEMPORAL, axis=1).reshape(-1))
    return np.stack(out).astype(np.float32)
