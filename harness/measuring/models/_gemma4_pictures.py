"""Gemma 4's pictures: patches of any picture's proportions, filled up to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.measuring.models._patches import of_whole
from harness.measuring.models._protocol import OnePicture, Proportions

# Side of a patch in px; so many by so many are averaged; tokens at most.
PATCH, POOL, MOST = 16, 3, 280


def one_picture(processor: Any, picture: Any) -> OnePicture:
    """pixels: float32 (patches, row·column·channel), without padding. grid: rows and columns."""
    out = processor.image_processor(images=[picture], return_tensors="pt")
    places = out["image_position_ids"][0]
    real = (places >= 0).all(-1)
    tokens = int(out["num_soft_tokens_per_image"][0])
    return OnePicture(out["pixel_values"][0][real], _grid(places), tokens)


def _grid(places: Any) -> list[int]:
    """Rows and columns. places: of a picture's patches, column and row, -1 of padding."""
    return [int(n) + 1 for n in places.amax(0).flip(0)]


def levels(pixels: Any) -> tuple[Any, float]:
    """uint8 (patches, row·column·channel)."""
    import numpy as np

    exact = np.asarray(pixels, dtype=np.float64) * 255.0
    whole = np.round(exact)
    return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())


def resized(picture: Any, grid: Sequence[int]) -> Any:
    """Pillow's bicubic filter."""
    import numpy as np
    from PIL import Image

    rows, columns = grid
    size = columns * PATCH, rows * PATCH
    small = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    tiles = small.reshape(rows, PATCH, columns, PATCH, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(rows * columns, PATCH * PATCH * 3)


def patches(batch: Mapping[str, Any]) -> tuple[int, ...]:
    """Those that are no padding."""
    places = batch.get("image_position_ids")
    return () if places is None else tuple((places >= 0).all(-1).sum(-1).tolist())


def filled(batch: Mapping[str, Any]) -> list[int] | None:
    """Patches that are no padding."""
    return list(patches(batch)) or None


def entering(batch: Mapping[str, Any]) -> Any:
    """Padding too: the tower masks it."""
    return batch["pixel_values"]


def image_tokens(processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]) -> list[int]:
    """One per square of patches that are averaged."""
    square = int(processor.image_processor.pooling_kernel_size) ** 2
    of_picture = iter([n // square for n in patches(batch)] if any(pictures) else [])
    return [sum(next(of_picture) for _ in range(count)) for count in pictures]


def picture_grids(processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
    """By the places of their patches."""
    places = batch.get("image_position_ids")
    return None if places is None else [_grid(of_picture) for of_picture in places]


def proportions(grid: Sequence[int]) -> Proportions:
    """Both sides are whole squares of patches that are averaged."""
    return of_whole(grid[0] // POOL, grid[1] // POOL)
