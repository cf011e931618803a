"""Pictures as a list of square patches, of all pictures of a batch one after the other.

What every family does whose processor cuts a picture into patches, says beside them how many there
are by time, row and column (a grid), and whose tower takes all of them in one call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring.models._protocol import OnePicture, Proportions, TowerCall


@dataclass(frozen=True)
class Patches:
    """How a family cuts.

    patch: side of a patch in px. frames: how deep one is in time. merge: so many by so many
    patches make one token. mean, std: by colour, as the published processor normalises. pixels,
    grids: the batch's tensors of patches and of their numbers; hidden, shape: what the tower calls
    them.
    """

    patch: int
    frames: int
    merge: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pixels: str = "pixel_values"
    grids: str = "image_grid_thw"
    hidden: str = "hidden_states"
    shape: str = "grid_thw"

    @property
    def side(self) -> int:
        """Side in px of the square that one token stands for."""
        return self.patch * self.merge

    @property
    def settings(self) -> dict[str, Any]:
        """What preprocessor_config.json says of it."""
        return {
            "patch_size": self.patch,
            "temporal_patch_size": self.frames,
            "merge_size": self.merge,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    def one_picture(self, processor: Any, picture: Any) -> OnePicture:
        """pixels: float32 (patches, channel·time·row·column). grid: time, rows, columns."""
        out = processor.image_processor(images=[picture], return_tensors="pt")
        grid = [int(n) for n in out[self.grids][0]]
        tokens = math.prod(grid) // int(processor.image_processor.merge_size) ** 2
        return OnePicture(out[self.pixels], grid, tokens)

    def levels(self, pixels: Any) -> tuple[Any, float]:
        """uint8 (patches, 3, time·row·column)."""
        import numpy as np

        mean, std = (np.array(by_colour).reshape(1, 3, 1) for by_colour in (self.mean, self.std))
        data = np.asarray(pixels, dtype=np.float64).reshape(len(pixels), 3, -1)
        exact = (data * std + mean) * 255.0
        whole = np.round(exact)
        return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())

    def resized(self, picture: Any, grid: Sequence[int]) -> Any:
        """Pillow's bicubic filter; patches in the order in which they are merged, frames repeated.

        uint8 (patches, 3, time, row·column), a view: a large picture's frames are not copied.
        """
        import numpy as np
        from PIL import Image

        _, rows, columns = grid
        patch, merge = self.patch, self.merge
        size = columns * patch, rows * patch
        small = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        split = rows // merge, merge, patch, columns // merge, merge, patch, 3
        tiles = np.asarray(small).reshape(split).transpose(0, 3, 1, 4, 6, 2, 5)
        flat = tiles.reshape(rows * columns, 3, 1, patch**2)
        return np.broadcast_to(flat, (rows * columns, 3, self.frames, patch**2))

    def patches(self, batch: Mapping[str, Any]) -> tuple[int, ...]:
        """Products of the grids' rows: time x rows x columns."""
        return tuple(int(n) for n in batch[self.grids].prod(-1))

    def filled(self, batch: Mapping[str, Any]) -> list[int] | None:
        """No picture is."""
        return None

    def entering(self, batch: Mapping[str, Any]) -> Any:
        """All."""
        return batch[self.pixels]

    def image_tokens(
        self, processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]
    ) -> list[int]:
        """t·h·w / merge² of every picture."""
        merged = int(processor.image_processor.merge_size) ** 2
        of_picture = iter([n // merged for n in self.patches(batch)] if any(pictures) else [])
        return [sum(next(of_picture) for _ in range(count)) for count in pictures]

    def picture_grids(self, processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
        """The batch's own."""
        grids = batch.get(self.grids)
        return None if grids is None else [[int(n) for n in grid] for grid in grids]

    def proportions(self, grid: Sequence[int]) -> Proportions:
        """Both sides are whole tokens."""
        return of_whole(grid[1] // self.merge, grid[2] // self.merge)

    def one_by_one(self, *args: Any, **kwargs: Any) -> list[TowerCall]:
        """Patches (patches, width) and grids, int64 (pictures, 3), one picture a call."""
        given = {**dict(zip((self.hidden, self.shape), args, strict=False)), **kwargs}
        hidden, grids = given.pop(self.hidden), given.pop(self.shape)
        split = zip(hidden.split(grids.prod(-1).tolist()), grids.split(1), strict=True)
        return [TowerCall(pixels, row, given) for pixels, row in split]

    def together(self, calls: Sequence[TowerCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Patches and grids one after the other."""
        import torch

        pixels = torch.cat([call.pixels for call in calls])
        grids = torch.cat([call.shape for call in calls])
        return (pixels,), {self.shape: grids, **calls[0].rest}

    def picture_side(self, image_tokens: int) -> int:
        """One token is a square of `side` px; a picture has at least four."""
        return self.side * max(2, round(image_tokens**0.5))


def of_whole(rows: int, columns: int) -> Proportions:
    """Of a picture whose sides were both rounded to whole cells: each is less than one off."""
    shown, slack = columns / rows, (1 + 1 / rows) * (1 + 1 / columns)
    return Proportions(shown / slack, shown, shown * slack)


def smart_resized(height: int, width: int, side: int, limits: tuple[int, int]) -> tuple[int, int]:
    """(height, width) by the library's rule. side: what both become multiples of. limits: the
    fewest and the most pixels."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    low, high = limits
    size = smart_resize(height, width, factor=side, min_pixels=low, max_pixels=high)
    return int(size[0]), int(size[1])
