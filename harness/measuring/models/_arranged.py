"""Pictures in tiles of whichever arrangement shows most of them, the whole one before them.

What every family does whose processor lays a row's only picture on up to so many by so many tiles
(arXiv 2408.03326), whose model cuts the margins off again, makes patches fewer by interpolation
where there are too many, and ends each line by a token of its own. Pixels are (pictures, tiles, 3,
side, side), filled up with empty tiles; a batch says the pictures' sizes, and how many a row has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from harness.measuring.models._patches import of_whole
from harness.measuring.models._protocol import OnePicture, Proportions
from harness.records.components import Component

PIXELS, SIZES, COUNTS = "pixel_values", "image_sizes", "batch_num_images"


@dataclass(frozen=True)
class Arranged:
    """side: of the published tile, in px. patch: side of a patch. along: tiles on either side at
    most. kept: as many tiles' patches as are kept, and a fifth more. ground: the level on which the
    pictures of a row that has several are laid."""

    side: int
    patch: int
    along: int
    kept: int
    ground: int

    def pinpoints(self, side: int) -> list[list[int]]:
        """(height, width) in px of every arrangement, in the published order."""
        along = range(1, self.along + 1)
        return [[side * rows, side * columns] for rows in along for columns in along]

    def arrangement(self, height: int, width: int, side: int) -> tuple[int, int]:
        """Rows and columns of tiles: those that show most of the picture's pixels, of as many the
        fewest tiles."""

        def shown(tiles: tuple[int, int]) -> tuple[int, int]:
            high, wide = side * tiles[0], side * tiles[1]
            if wide * height <= high * width:
                fit = wide * (height * wide // width)
            else:
                fit = high * (width * high // height)
            return min(fit, height * width), -tiles[0] * tiles[1]

        along = range(1, self.along + 1)
        return max(((rows, columns) for rows in along for columns in along), key=shown)

    def tokens_of(self, height: int, width: int, side: int) -> int:
        """Of the whole of it, of its patches without the margins, and one a line."""
        each = side // self.patch
        rows, columns = (each * n for n in self.arrangement(height, width, side))
        if width * rows > columns * height:
            rows -= (rows - height * columns // width) // 2 * 2
        else:
            columns -= (columns - width * rows // height) // 2 * 2
        most = self.kept * each**2
        if 100 * rows * columns > 121 * most:
            rows, columns = isqrt(rows * most // columns), isqrt(columns * most // rows)
        return each**2 + rows * (columns + 1)

    def _grids(self, batch: Mapping[str, Any]) -> list[list[int]]:
        """Of every picture rows, columns and side of its tiles, its own height and width. Neither
        rows nor columns of one that is not cut, for its row has others."""
        if PIXELS not in batch:
            return []
        side, sizes = int(batch[PIXELS].shape[-1]), batch[SIZES].tolist()
        alone = [True] * len(sizes)
        if COUNTS in batch:
            alone = [int(n) == 1 for n in batch[COUNTS] for _ in range(int(n))]
        grids = []
        for cut, (height, width) in zip(alone, sizes, strict=False):
            rows, columns = self.arrangement(height, width, side) if cut else (0, 0)
            grids.append([rows, columns, side, height, width])
        return grids

    def one_picture(self, processor: Any, picture: Any) -> OnePicture:
        """pixels: float32 (tiles, 3, side, side), the whole picture's first."""
        out = processor.image_processor(images=[picture], return_tensors="pt")
        (grid,) = self._grids(out)
        _, _, side, height, width = grid
        return OnePicture(out[PIXELS][0], grid, self.tokens_of(height, width, side))

    def resized(self, picture: Any, grid: Sequence[int]) -> Any:
        """Pillow's bicubic filter: the whole squeezed to a tile, then as large as the tiles hold
        it, on black; or on a square of the ground alone. uint8 (tiles, 3, side, side)."""
        import numpy as np

        rows, columns, side = grid[:3]
        whole = picture.convert("RGB")
        if not rows:
            longest = max(whole.size)
            square = _made(_laid(whole, (longest, longest), self.ground), (side, side))
            return np.asarray(square).transpose(2, 0, 1)[None]
        wide, high = columns * side, rows * side
        if wide * whole.height < high * whole.width:
            fit = wide, -(-whole.height * wide // whole.width)
        else:
            fit = -(-whole.width * high // whole.height), high
        shown = np.asarray(_laid(_made(whole, fit), (wide, high), 0))
        split = shown.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
        first = np.asarray(_made(whole, (side, side)))[None]
        tiles = np.concatenate([first, split.reshape(-1, side, side, 3)])
        return tiles.transpose(0, 3, 1, 2)

    def patches(self, batch: Mapping[str, Any]) -> tuple[int, ...]:
        """Of all of a picture's tiles."""
        return tuple(
            (rows * columns + 1) * (side // self.patch) ** 2
            for rows, columns, side, *_ in self._grids(batch)
        )

    def filled(self, batch: Mapping[str, Any]) -> list[int] | None:
        """Tiles, the whole picture's among them."""
        return [rows * columns + 1 for rows, columns, *_ in self._grids(batch)] or None

    def entering(self, batch: Mapping[str, Any]) -> Any:
        """Tiles without the empty ones."""
        import torch

        pixels = zip(batch[PIXELS], self.filled(batch) or (), strict=True)
        return torch.cat([tiles[:count] for tiles, count in pixels])

    def image_tokens(
        self, processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]
    ) -> list[int]:
        """By the sizes that the batch says; of a picture on a square a tile's and one."""
        of_picture = iter(
            self.tokens_of(height, width, side) if rows else (side // self.patch) ** 2 + 1
            for rows, _, side, height, width in self._grids(batch)
        )
        return [sum(next(of_picture) for _ in range(count)) for count in pictures]

    def picture_grids(self, processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
        """By the sizes that the batch says."""
        return self._grids(batch) or None

    def proportions(self, grid: Sequence[int]) -> Proportions | None:
        """The batch says height and width."""
        return of_whole(*grid[3:])

    def picture_side(self, image_tokens: int) -> int:
        """Of as many tiles as are kept, or fewer: a larger square's patches are made fewer."""
        sides = [self.side * n for n in range(1, int(self.kept**0.5) + 1)]
        own = {side: self.tokens_of(side, side, self.side) for side in sides}
        return min(sides, key=lambda side: abs(image_tokens - own[side]))

    def features(self, owner: Any, batch: Mapping[str, Any]) -> list[Any]:
        """What the decoder is given, (tokens, width) by picture. owner: the inner model."""
        given = {name: batch[name] for name in (PIXELS, SIZES, COUNTS) if name in batch}
        out = owner.get_image_features(**given)
        # A tensor's tokens until transformers 4.57, then an output's.
        return list(getattr(out, "pooler_output", out))

    def vision_flops(
        self, config: Any, weights: Mapping[Component, int], patches: Sequence[int]
    ) -> int:
        """2 per weight and patch, and every tile attending to itself. The positions' table is
        looked up, not multiplied; the connector takes every patch before any is left out."""
        vision, total = config.vision_config, sum(patches)
        each = (int(vision.image_size) // int(vision.patch_size)) ** 2
        width = int(vision.hidden_size)
        attended = 4 * total * each * width * int(vision.num_hidden_layers)
        tower = weights[Component.TOWER] - each * width + weights[Component.PATCH_EMBEDDING]
        return 2 * total * (tower + weights[Component.CONNECTOR]) + attended


def _made(picture: Any, size: tuple[int, int]) -> Any:
    """Rows before columns: Pillow 13 may turn that round by itself. size: (width, height)."""
    from PIL import Image

    narrow = picture.resize((size[0], picture.height), Image.Resampling.BICUBIC)
    return narrow.resize(size, Image.Resampling.BICUBIC)


def _laid(picture: Any, size: tuple[int, int], level: int) -> Any:
    """In the middle of a ground of one level. size: (width, height)."""
    from PIL import Image

    ground = Image.new("RGB", size, (level,) * 3)
    ground.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    return ground
