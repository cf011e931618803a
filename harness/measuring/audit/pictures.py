"""Whose pictures a batch's pixels are: each compared with what its row's own pictures make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.data.pictures import ORIENTATION, lay_on_white
from harness.measuring.audit.contents import pictures_of
from harness.measuring.audit.rows import Row
from harness.measuring.audit.training import Batch, Training

OWN = "own"
# A picture is another's, or the same otherwise decoded, where it is at most half as far from it.
NEARER = 0.5
# Two resizers each round to whole levels: half a level each.
ROUNDING = 1.0
# How many levels one unit of a normalised pixel is: the deviations of all published processors lie
# between a quarter and a half of 255.
LEVELS = 255 * 0.25


@dataclass(frozen=True)
class Given:
    """A picture of a batch. row: whose place it has. place: among the row's pictures. pixels: its
    part of the pixel tensor, None where it is not known. grid: of the family's, None without one.
    """

    row: Row
    place: int
    pixels: Any
    grid: tuple[int, ...] | None


class Pictures:
    """A batch's pictures and the rows' own. Raises nothing: what cannot be told is `why`."""

    def __init__(self, training: Training, batch: Batch, rows: Sequence[Row]) -> None:
        self.training, self.batch, self.rows = training, batch, rows
        self.own = [pictures_of(row.feature) for row in rows]
        self.encoder = getattr(training.processor, "image_processor", None)

    @cached_property
    def count(self) -> int | None:
        """Pictures of the batch; None where nothing tells them apart."""
        tensor = self._per_picture
        if tensor is not None:
            return len(tensor)
        pixels = self.pixels
        total = sum(map(len, self.own))
        if pixels is None:
            return 0
        by_row = self._axis == "row" and len(pixels) == len(self.rows)
        return total if by_row or len(pixels) == total else None

    @property
    def pixels(self) -> Any:
        """The tensor of pixels; None in a batch without."""
        family = self.training.family
        if family is not None:
            named = [n for n, t in family.TENSORS.items() if t.holds == "pixels"]
        else:
            named = [n for n in self.batch.inputs if n in _encoded_names(self.encoder)][:1]
        return next((self.batch.inputs[n] for n in named if n in self.batch.inputs), None)

    @property
    def _per_picture(self) -> Any:
        """The family's tensor with one entry a picture; None without."""
        family = self.training.family
        if family is None:
            return None
        for name, tensor in family.TENSORS.items():
            if tensor.axis == "picture" and tensor.holds == "numbers" and name in self.batch.inputs:
                return self.batch.inputs[name]
        return None

    def given(self) -> Iterator[Given]:
        """The batch's pictures row by row, in order; needs `count` to be that of the rows' own."""
        parts = zip(self._parts(), self._grids(), strict=True)
        for row, own in zip(self.rows, self.own, strict=True):
            for place in range(len(own)):
                pixels, grid = next(parts)
                yield Given(row, place, pixels, grid)

    def _grids(self) -> list[tuple[int, ...] | None]:
        """Of each picture the family's, None where the batch does not say it of all."""
        family: Any = self.training.family
        count, stated = sum(map(len, self.own)), None
        if family is not None:
            stated = family.picture_grids(self.training.processor, self.batch.inputs)
        if stated is None or len(stated) != count:
            return [None] * count
        return [tuple(grid) for grid in stated]

    @property
    def _axis(self) -> str:
        """What the first axis of the pixels counts; pictures, where no family says it."""
        family = self.training.family
        if family is None:
            return "picture"
        return next(str(t.axis) for t in family.TENSORS.values() if t.holds == "pixels")

    def _parts(self) -> list[Any]:
        """The pixels of each picture; None where nothing tells a row's pictures apart."""
        pixels, family = self.pixels, self.training.family
        if self._axis == "row":
            return self._of_rows(pixels)
        if family is None or self._axis == "picture":
            counts: Sequence[int | None] = self._filled(self.batch.inputs) or [None] * len(pixels)
            return [part[:n] for part, n in zip(pixels, counts, strict=True)]
        return list(pixels.split(list(family.patches(self.batch.inputs))))

    def _filled(self, inputs: Mapping[str, Any]) -> list[int] | None:
        """How much of each picture's pixels is its own, where the family fills pictures up."""
        family = self.training.family
        return None if family is None else family.filled(inputs)

    def _of_rows(self, pixels: Any) -> list[Any]:
        """Each picture's tiles, of pixels row by row: as many as it makes alone."""
        parts: list[Any] = []
        for place, own in enumerate(self.own):
            counts = [len(self._encoded(lay_on_white(picture))) for picture in own]
            there: Any = _real(pixels[place]) if len(pixels) == len(self.rows) else None
            apart = there is not None and sum(counts) == len(there)
            parts += there.split(counts) if apart and counts else [None] * len(own)
        return parts

    def own_tokens(self) -> list[int]:
        """Tokens that each row's pictures take: by the family's rule from the batch's grids, else
        what the user's processor writes for those pictures alone."""
        family, counts = self.training.family, [len(own) for own in self.own]
        if family is not None:
            return family.image_tokens(self.training.processor, self.batch.inputs, counts)
        return [self._alone_tokens(own) for own in self.own]

    def _alone_tokens(self, own: Sequence[Any]) -> int:
        if not own:
            return 0
        token = self.training.tokenizer.convert_ids_to_tokens(self.training.picture_token_id)
        written = getattr(self.training.processor, "image_token", token)
        pictures = [lay_on_white(picture) for picture in own]
        out = self.training.processor(text=[written * len(own)], images=[pictures])
        return sum(row.count(self.training.picture_token_id) for row in out["input_ids"])

    def distance(self, given: Given, picture: Any) -> float:
        """Mean distance in levels of 0 to 255 between a given picture and what another one makes;
        infinite where their sizes differ and no family can resize."""
        if given.pixels is None:
            return math.inf
        encoded = self._encoded(picture)
        if encoded is not None and encoded.shape == given.pixels.shape:
            gap = (given.pixels.detach().float().cpu() - encoded.float()).abs().mean()
            return float(gap) * LEVELS
        family = self.training.family
        if family is None or given.grid is None:
            return math.inf
        import numpy as np

        levels, _ = family.levels(given.pixels.detach().float().cpu().numpy())
        there = family.resized(picture, given.grid).reshape(levels.shape)
        return float(np.abs(levels.astype(np.int16) - there.astype(np.int16)).mean())

    def _encoded(self, picture: Any) -> Any:
        if self.encoder is None:
            return None
        out = self.encoder(images=[picture], return_tensors="pt")
        name = next((n for n in _encoded_names(self.encoder) if n in out), None)
        if name is None:
            return None
        encoded = out[name]
        if self._axis == "row":
            return _real(encoded[0])
        if self._axis != "picture":
            return encoded
        counts = self._filled(out)
        return encoded[0][: counts[0]] if counts else encoded[0]

    def whose(self, given: Given) -> str:
        """`own` where the pixels are nearest to the row's own picture as a viewer sees it; a
        variant's name, or `row N` or `place N` of the picture that they are; '' for nobody's."""
        mine = self.own[given.row.index][given.place]
        seen = lay_on_white(mine)
        own = self.distance(given, seen)
        if own == 0.0:
            return OWN
        others = [(name, make(mine, seen)) for name, make in VARIANTS.items()]
        others += [(name, lay_on_white(picture)) for name, picture in self._others(given, mine)]
        far = [
            (self.distance(given, picture), name)
            for name, picture in others
            if picture is not None and not _is_same(picture, seen)
        ]
        nearest, name = min(far, default=(math.inf, ""))
        if nearest < NEARER * own and (math.isfinite(own) or nearest <= ROUNDING):
            return name
        return OWN if math.isfinite(own) else ""

    def _others(self, given: Given, mine: Any) -> Iterator[tuple[str, Any]]:
        for row, pictures in zip(self.rows, self.own, strict=True):
            for place, picture in enumerate(pictures):
                if picture is mine:
                    continue
                same = row is given.row
                yield (f"place {place}" if same else row.name), picture


def _encoded_names(encoder: Any) -> list[str]:
    """Names of what an image processor gives, the pixels first, as every one of the library's has
    them."""
    return list(getattr(encoder, "model_input_names", ()) or ())[:1]


def _is_same(one: Any, other: Any) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def _unturned(picture: Any, seen: Any) -> Any:
    if picture.getexif().get(ORIENTATION, 1) == 1:
        return None
    bare = picture.copy()
    bare.getexif().clear()
    bare.info.pop("exif", None)
    return lay_on_white(bare)


def _opaque(picture: Any, seen: Any) -> Any:
    """As Pillow's own conversion has it, which keeps what lies under the transparency."""
    if picture.mode not in {"RGBA", "LA", "PA", "P"} and "transparency" not in picture.info:
        return None
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture).convert("RGBA").convert("RGB")


def _indexed(picture: Any, seen: Any) -> Any:
    """A palette's numbers taken for greys."""
    if picture.mode != "P":
        return None
    from PIL import Image

    return Image.frombytes("L", picture.size, picture.tobytes()).convert("RGB")


def _upside_down(picture: Any, seen: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.flip(seen)


def _blue_first(picture: Any, seen: Any) -> Any:
    from PIL import Image

    return Image.merge("RGB", seen.split()[::-1])


def _grey(picture: Any, seen: Any) -> Any:
    return seen.convert("L").convert("RGB")


def _rescaled_twice(picture: Any, seen: Any) -> Any:
    """Levels of 0 to 1: divided by 255 once more than they must be."""
    return seen.point([round(level / 255) for level in range(256)] * 3)


def _real(tiles: Any) -> Any:
    """Without what fills a row up to the one with the most tiles: all zeros."""
    return tiles[tiles.flatten(1).any(1)]


# What a row's own picture becomes by the usual mistakes; None where that changes nothing.
VARIANTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "not turned": _unturned,
    "transparency dropped": _opaque,
    "palette numbers": _indexed,
    "upside down": _upside_down,
    "blue for red": _blue_first,
    "grey": _grey,
    "rescaled twice": _rescaled_twice,
}
