"""Pictures that audits of data are held against."""

from __future__ import annotations

from PIL import Image


def coloured(*size: int, colour: str = "red") -> Image.Image:
    return Image.new("RGB", (size[0], size[1]), colour)
