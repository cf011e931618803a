"""Pictures that all become the same square, whatever their proportions.

What a family does whose processor scales every picture to one size, whose tower takes them
(pictures, 3, side, side), and in whose texts each takes the same number of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring.models._protocol import OnePicture, Proportions, TowerCall


@dataclass(frozen=True)
class Squares:
    """side: of the published square, in px. patch: side of a patch in px. middle: mean and standard
    deviation of every colour, as the published processor normalises."""

    side: int
    patch: int
    middle: float

    def one_picture(self, processor: Any, picture: Any) -> OnePicture:
        """pixels: float32 (1, 3, height, width). grid: rows and columns of patches."""
        pixels = processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
        grid = [int(n) // self.patch for n in pixels.shape[-2:]]
        return OnePicture(pixels, grid, int(processor.image_seq_length))

    def levels(self, pixels: Any) -> tuple[Any, float]:
        """uint8 (pictures, 3, height, width)."""
        import numpy as np

        exact = (np.asarray(pixels, dtype=np.float64) * self.middle + self.middle) * 255.0
        whole = np.round(exact)
        return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())

    def resized(self, picture: Any, grid: Sequence[int]) -> Any:
        """Pillow's bilinear filter. uint8 (1, 3, height, width)."""
        import numpy as np
        from PIL import Image

        size = grid[1] * self.patch, grid[0] * self.patch
        small = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        return np.asarray(small).transpose(2, 0, 1)[None]

    def patches(self, batch: Mapping[str, Any]) -> tuple[int, ...]:
        """As many for every picture."""
        pixels = batch.get("pixel_values")
        if pixels is None:
            return ()
        rows, columns = (int(n) // self.patch for n in pixels.shape[-2:])
        return (rows * columns,) * int(pixels.shape[0])

    def filled(self, batch: Mapping[str, Any]) -> list[int] | None:
        """No picture is."""
        return None

    def entering(self, batch: Mapping[str, Any]) -> Any:
        """All."""
        return batch["pixel_values"]

    def image_tokens(
        self, processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]
    ) -> list[int]:
        """The processor's fixed number for each."""
        return [int(processor.image_seq_length) * count for count in pictures]

    def picture_grids(self, processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
        """Rows and columns of patches, the same of every picture."""
        pixels = batch.get("pixel_values")
        if pixels is None:
            return None
        return [[int(n) // self.patch for n in pixels.shape[-2:]] for _ in pixels]

    def proportions(self, grid: Sequence[int]) -> Proportions | None:
        """Nothing."""
        return None

    def one_by_one(self, *args: Any, **kwargs: Any) -> list[TowerCall]:
        """One picture a call; nothing but its pixels tells it from another."""
        import torch

        given = {**dict(zip(("pixel_values",), args, strict=False)), **kwargs}
        pixels = given.pop("pixel_values")
        none = torch.zeros((1, 0), dtype=torch.int64, device=pixels.device)
        return [TowerCall(picture, none, given) for picture in pixels.split(1)]

    def together(self, calls: Sequence[TowerCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Pixels one after the other."""
        import torch

        return (torch.cat([call.pixels for call in calls]),), dict(calls[0].rest)

    def picture_side(self, image_tokens: int) -> int:
        """Every picture is scaled to the same square."""
        return self.side


def square_settings(
    side: int, mean: Sequence[float], std: Sequence[float], resample: int = 3
) -> dict[str, Any]:
    """What preprocessor_config.json says of squares. resample: Pillow's number of the filter."""
    steps = ("do_convert_rgb", "do_normalize", "do_rescale", "do_resize")
    return {
        **dict.fromkeys(steps, True),
        "image_mean": list(mean),
        "image_std": list(std),
        "resample": resample,
        "rescale_factor": 1 / 255,
        "size": {"height": side, "width": side},
    }
