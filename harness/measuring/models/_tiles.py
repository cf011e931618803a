"""Pictures cut into square tiles of one side, and the whole picture once more as a last tile.

What every family does whose processor makes a picture's longer side a whole number of tiles, its
shorter one as many as it needs, and gives each row of a batch as many tiles as the longest has:
(rows, tiles, 3, side, side), those that are no picture's all zero and masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring.models._protocol import OnePicture, Proportions, TowerCall

PIXELS, MASK = "pixel_values", "pixel_attention_mask"
# What the tower calls its arguments: tiles (tiles, 3, side, side), which patches are a picture's.
SHOWN, SHOWN_MASK = "pixel_values", "patch_attention_mask"
# A picture that was made smaller in its own proportions has them but for a rounding of its sides.
ROUNDED = 1.02


@dataclass(frozen=True)
class Tiles:
    """How a family cuts. along: tiles on the longer side. mean, std: of every colour, as the
    published processor normalises. place: a regular expression of what a text says before a tile,
    its row and its column; whole: what it says before the whole picture."""

    along: int
    mean: float
    std: float
    place: str
    whole: str

    def one_picture(self, processor: Any, picture: Any) -> OnePicture:
        """pixels: float32 (tiles, 3, side, side). grid: rows and columns of tiles, and a tile's
        side in px."""
        out = processor.image_processor(
            images=[picture], return_tensors="pt", return_row_col_info=True
        )
        pixels = out[PIXELS][0]
        grid = [int(out["rows"][0][0]), int(out["cols"][0][0]), int(pixels.shape[-1])]
        return OnePicture(pixels, grid, len(pixels) * int(processor.image_seq_len))

    def levels(self, pixels: Any) -> tuple[Any, float]:
        """uint8 (tiles, 3, side, side)."""
        import numpy as np

        exact = (np.asarray(pixels, dtype=np.float64) * self.std + self.mean) * 255.0
        whole = np.round(exact)
        return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())

    def resized(self, picture: Any, grid: Sequence[int]) -> Any:
        """Lanczos' filter by Pillow: to the longer side first, then to whole tiles, and those
        together to one tile, rows before columns (Pillow 13 may turn that round by itself). uint8
        (tiles, 3, side, side)."""
        import numpy as np
        from PIL import Image

        rows, columns, side = grid
        fit = fitted(picture.height, picture.width, self.along * side)
        size = max(1, columns) * side, max(1, rows) * side
        scaled: Any = picture.convert("RGB")

        def lanczos(wanted: tuple[int, int]) -> Any:
            narrow = scaled.resize((wanted[0], scaled.height), Image.Resampling.LANCZOS)
            return narrow.resize(wanted, Image.Resampling.LANCZOS)

        for wanted in (fit[::-1], size):
            scaled = lanczos(wanted)
        whole = np.asarray(lanczos((side, side)))[None]
        if rows:
            split = np.asarray(scaled).reshape(rows, side, columns, side, 3)
            tiles = split.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
            whole = np.concatenate([tiles, whole])
        return whole.transpose(0, 3, 1, 2)

    def filled(self, batch: Mapping[str, Any]) -> list[int] | None:
        """Rows are, not pictures."""
        return None

    def entering(self, batch: Mapping[str, Any]) -> Any:
        """The tiles that are a picture's."""
        return batch[PIXELS][real_tiles(batch)]

    def image_tokens(
        self, processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]
    ) -> list[int]:
        """The same number for every tile that is a picture's."""
        if not any(pictures):
            return [0] * len(pictures)
        return [int(n) * int(processor.image_seq_len) for n in real_tiles(batch).sum(-1)]

    def picture_grids(self, processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
        """By the places that the texts name before each tile, up to the whole picture."""
        if PIXELS not in batch:
            return None
        side = int(batch[PIXELS].shape[-1])
        rows = batch["input_ids"].long().tolist()
        texts = (processor.tokenizer.decode(row) for row in rows)
        return [[*grid, side] for text in texts for grid in self._named(text)]

    def _named(self, text: str) -> Iterator[tuple[int, int]]:
        *pictures, _ = text.split(self.whole)
        for before in pictures:
            places = [(int(row), int(column)) for row, column in re.findall(self.place, before)]
            yield max(places, default=(0, 0))

    def proportions(self, grid: Sequence[int]) -> Proportions | None:
        """The longer side is as many tiles long, the shorter one less than a tile shorter. Nothing
        of a picture in a single tile."""
        rows, columns, side = grid
        if not rows:
            return None
        # A side has at least a pixel; it may be rounded up to the tile's edge.
        shorter = max(min(rows, columns) - 1, 1 / side)
        least, most = columns / rows, columns / rows
        if columns >= rows:
            most = columns / shorter
        if rows >= columns:
            least = shorter / rows
        return Proportions(least / ROUNDED, columns / rows, most * ROUNDED)

    def one_by_one(self, *args: Any, **kwargs: Any) -> list[TowerCall]:
        """One tile a call: (1, 3, side, side), and which of its patches are a picture's."""
        given = {**dict(zip((SHOWN, SHOWN_MASK), args, strict=False)), **kwargs}
        tiles, mask = given.pop(SHOWN), given.pop(SHOWN_MASK)
        split = zip(tiles.split(1), mask.flatten(1).long().split(1), strict=True)
        rest = {**given, "grid": mask.shape[1:]}
        return [TowerCall(tile, shown, rest) for tile, shown in split]

    def together(self, calls: Sequence[TowerCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tiles one after the other."""
        import torch

        rest = {**calls[0].rest}
        grid = rest.pop("grid")
        mask = torch.cat([call.shape for call in calls]).bool().unflatten(1, grid)
        return (), {SHOWN: torch.cat([call.pixels for call in calls]), SHOWN_MASK: mask, **rest}


def fitted(height: int, width: int, longest: int) -> tuple[int, int]:
    """(height, width) with that longer side; the shorter one is cut to whole px, then made even."""
    if width >= height:
        short = longest * height // width
        return max(short + short % 2, 1), longest
    short = longest * width // height
    return longest, max(short + short % 2, 1)


def real_tiles(batch: Mapping[str, Any]) -> Any:
    """bool (rows, tiles): which are a picture's; the others fill a row up."""
    return batch[MASK].flatten(2).any(-1)
