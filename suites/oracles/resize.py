"""The published resize rule and patch order, worked in exact integers where it can be.

Rule: both sides rounded to multiples of 28 (half to even, as Python's round); if the area then
exceeds the maximum, both sides are divided by sqrt(h·w / max) and rounded down; if it is below
the minimum, multiplied by sqrt(min / (h·w)) and rounded up. Longer than 200:1 is refused. Families
with another patch have another factor than 28, twice their patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, isqrt, sqrt
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


def _floor_scaled(side: int, numerator: int, denominator: int, factor: int) -> int:
    """floor(side · sqrt(numerator/denominator) / factor) in integers."""
    square = Fraction(side * side * numerator, denominator * factor * factor)
    return isqrt(square.numerator // square.denominator)


def _ceil_scaled(side: int, numerator: int, denominator: int, factor: int) -> int:
    square = Fraction(side * side * numerator, denominator * factor * factor)
    root = isqrt(square.numerator // square.denominator)
    return root if root * root == square else root + 1


def resized(
    height: int, width: int, limits: tuple[int, int], *, least: int = 0, factor: int = FACTOR
) -> tuple[int, int]:
    """(height, width) after the rule. least: qwen_vl_utils' floor of one factor per side."""
    if max(height, width) > 200 * min(height, width):
        raise TooLong(f"{height}×{width}")
    low, high = limits
    h = max(least, round(Fraction(height, factor)) * factor)
    w = max(least, round(Fraction(width, factor)) * factor)
    if h * w > high:
        h = max(least, _floor_scaled(height, high, height * width, factor) * factor)
        w = max(least, _floor_scaled(width, high, height * width, factor) * factor)
    elif h * w < low:
        h = _ceil_scaled(height, low, height * width, factor) * factor
        w = _ceil_scaled(width, low, height * width, factor) * factor
    return h, w


def on_the_edge(height: int, width: int, limits: tuple[int, int], factor: int = FACTOR) -> bool:
    """Whether a picture is scaled and a side becomes a whole multiple of the factor: the last bit
    of a float decides there."""
    low, high = limits
    area = round(Fraction(height, factor)) * round(Fraction(width, factor)) * factor**2
    if low <= area <= high:
        return False
    bound = high if area > high else low
    for side in (height, width):
        square = Fraction(side * side * bound, height * width * factor * factor)
        if square.denominator == 1 and isqrt(square.numerator) ** 2 == square.numerator:
            return True
    return False


def in_doubles(
    height: int, width: int, limits: tuple[int, int], *, least: int = 0, factor: int = FACTOR
) -> tuple[int, int]:
    """(height, width) after the rule as it is published, in doubles: what a side becomes that is
    `on_the_edge` by the last bit of a square root, which IEEE 754 rounds the same everywhere."""
    low, high = limits
    h, w = (max(least, round(side / factor) * factor) for side in (height, width))
    if h * w > high:
        shrunk = sqrt(height * width / high)
        h, w = (max(least, floor(side / shrunk / factor) * factor) for side in (height, width))
    elif h * w < low:
        grown = sqrt(low / (height * width))
        h, w = (ceil(side * grown / factor) * factor for side in (height, width))
    return h, w


def grid(height: int, width: int, patch: int = PATCH) -> tuple[int, int, int]:
    """(t, h, w) in patches of an already resized still picture."""
    return 1, height // patch, width // patch


def image_tokens(height: int, width: int, factor: int = FACTOR) -> int:
    """Image tokens of an already resized picture: one per square of the factor."""
    return (height // factor) * (width // factor)


def bicubic(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Rows first, then columns, as Pillow up to the reference stack's 10.4 does it.

    size: (height, width). Pillow 13 resizes columns first; each pass alone is the same, so this
    fixes the result.
    """
    height, width = size
    rows = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return rows.resize((width, height), Image.Resampling.BICUBIC)


def centred(picture: Image.Image, size: tuple[int, int], level: int) -> Any:
    """uint8 (height, width, 3) of that size, all of one level but for the picture in its middle, a
    pixel further up and to the left where it cannot be."""
    out = np.full((*size, 3), level, np.uint8)
    above, left = (size[0] - picture.height) // 2, (size[1] - picture.width) // 2
    out[above : above + picture.height, left : left + picture.width] = np.asarray(picture)
    return out


def patches(pixels: Any, patch: int = PATCH, mean: Any = MEAN, std: Any = STD) -> Any:
    """float32 (h·w patches, 6·patch²) of an already resized RGB picture, uint8 (height, width, 3).

    Order: merged 2×2 blocks row by row, inside a block its four patches, inside a patch channel,
    time (the still frame twice), row, column. Values: (v/255 - mean) / std.
    """
    array = (np.asarray(pixels, dtype=np.float64) / 255.0 - mean) / std
    rows, columns = array.shape[0] // patch, array.shape[1] // patch
    out = []
    for block_row in range(0, rows, MERGE):
        for block_column in range(0, columns, MERGE):
            for r in range(block_row, block_row + MERGE):
                for c in range(block_column, block_column + MERGE):
                    tile = array[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
                    channels = tile.transpose(2, 0, 1)
                    out.append(np.stack([channels] * TEMPORAL, axis=1).reshape(-1))
    return np.stack(out).astype(np.float32)


@dataclass(frozen=True)
class Cut:
    """How a family cuts a picture. patch: side in px. limits: the fewest and the most pixels that
    its published processor keeps. mean, std: by colour."""

    patch: int = PATCH
    limits: tuple[int, int] = PROCESSOR_LIMITS
    mean: Any = field(default_factory=lambda: MEAN)
    std: Any = field(default_factory=lambda: STD)

    @property
    def factor(self) -> int:
        """Side in px of the square that becomes one token."""
        return self.patch * MERGE

    @property
    def fetch_limits(self) -> tuple[int, int]:
        """qwen_vl_utils': 4 to 16,384 tokens."""
        return 4 * self.factor**2, 16_384 * self.factor**2

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after qwen_vl_utils' own resize."""
        return resized(height, width, self.fetch_limits, least=self.factor, factor=self.factor)

    def patches(self, pixels: Any) -> Any:
        """float32 (patches, 6·patch²)."""
        return patches(pixels, self.patch, self.mean, self.std)

    def levels(self, pixels: Any) -> Any:
        """uint8 (patches, 3, 2·patch²) 0–255 in the order of patches, back from normalised ones."""
        flat = self.patches(pixels).astype(np.float64).reshape(-1, 3, TEMPORAL * self.patch**2)
        exact = (flat * self.std.reshape(1, 3, 1) + self.mean.reshape(1, 3, 1)) * 255.0
        return np.round(exact).clip(0, 255).astype(np.uint8)
