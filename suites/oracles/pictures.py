"""What a viewer sees of a picture, in plain integers: laid on white, turned by its EXIF."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_white(rgba: Any) -> Any:
    """int64 (height, width, 3): colour · alpha + 255 · (1 - alpha), rounded; rgba is uint8."""
    values = np.asarray(rgba).astype(np.int64)
    colour, alpha = values[..., :3], values[..., 3:]
    return (2 * (colour * alpha + 255 * (255 - alpha)) + 255) // 510


def turned(pixels: Any, orientation: int) -> Any:
    """The stored pixels (height, width, 3) as the EXIF orientation (1 to 8) wants them seen.

    By the standard's table: which edge of the stored picture is the top, which the left.
    """
    across = np.swapaxes(pixels, 0, 1)
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: across,
        6: across[:, ::-1],
        7: across[::-1, ::-1],
        8: across[::-1],
    }[orientation]
