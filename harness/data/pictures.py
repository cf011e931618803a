"""Decode pictures ourselves, once: the libraries only ever get what this module returns.

Both the families' own helpers and the datasets image feature would fetch URLs and paths
without limit or time-out, ignore the EXIF orientation and turn transparency black.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

from harness.errors import BadInput

# The processor never keeps more than 12,845,056 pixels; four times that leaves room to scale
# down without letting a small file claim gigabytes of memory.
MAX_PIXELS = 4 * 12_845_056
MAX_RATIO = 200  # the resize rule's own limit
# What product pictures come in. Pillow's other readers stay shut: EPS would start Ghostscript.
# (A JPEG that holds several pictures, MPO, is opened by the JPEG reader.)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def lay_on_white(image: Any) -> Any:
    """The picture turned by its EXIF orientation, on white, as RGB."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}:
        return _scaled_grey(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _scaled_grey(image: Any) -> Any:
    """16- and 32-bit greys as RGB of 8 bits; Pillow's own convert clips them to white instead.

    16 bits always span 0 to 65,535. 32-bit modes carry no range: above 255 they are taken for 16.
    """
    import numpy as np
    from PIL import Image

    raw = np.nan_to_num(np.asarray(image).astype(np.float64))
    deep = image.mode.startswith("I;16") or raw.max(initial=0.0) > 255.0
    values = (np.round(raw / 257.0) if deep else raw).clip(0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values[raw == clear] = 255
    return Image.fromarray(values).convert("RGB")


def decode(data: Any, where: str = "the picture", *, allow_paths: bool = False) -> Any:
    """An RGB picture from bytes, a `{"bytes": …}` dict or a PIL image.

    Raises BadInput naming `where` for a URL or path (unless allowed: local files only), for
    what is no picture, is empty, too large or too long.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(data, dict):
        data = data.get("bytes") or data.get("path")
    if isinstance(data, str | Path):
        data = _read(str(data), where, allow_paths)
    if data is None:
        raise BadInput(f"{where} is missing; every product needs one picture.")
    try:
        with warnings.catch_warnings():
            # Pillow's own warning becomes our refusal below, by the same count of pixels.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = (
                data
                if isinstance(data, Image.Image)
                else Image.open(io.BytesIO(data), formats=FORMATS)
            )
            check_size(image.size, where)
            image.load()
            return lay_on_white(image)
    except UnidentifiedImageError as error:
        # Pillow's own words are the buffer's address.
        sentence = f"{where} is no readable picture (none of {', '.join(FORMATS)}); replace it."
        raise BadInput(sentence) from error
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise BadInput(f"{where} is no readable picture ({error}); replace it.") from error
    except Image.DecompressionBombError as error:
        raise BadInput(
            f"{where} is too large ({str(error).rstrip('.')}); scale it down."
        ) from error


def check_size(size: tuple[int, int], where: str) -> None:
    """Refuse what the processor could not use. Raises BadInput."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadInput(
            f"{where} has {width}×{height} pixels, the limit is {MAX_PIXELS:,}; scale it down."
        )
    if max(size) > MAX_RATIO * min(size):
        raise BadInput(
            f"{where} is {width}×{height}, more than {MAX_RATIO} times as long as wide; crop it."
        )


def _read(text: str, where: str, allow_paths: bool) -> bytes:
    if text.startswith(("http:", "https:", "ftp:", "data:", "file:")):
        raise BadInput(f"{where} is a URL ({text[:60]}); put the picture's bytes in the dataset.")
    if not allow_paths:
        raise BadInput(
            f"{where} is a path ({text[:60]}); embed the bytes, or allow local paths explicitly."
        )
    try:
        return Path(text).read_bytes()
    except OSError as error:
        raise BadInput(f"{where} cannot be read from {text} ({error.strerror}).") from error
