"""Decode pictures ourselves, once: the libraries only ever get what this module returns.

Both the families' own helpers and the datasets image feature would fetch URLs and paths
without limit or time-out, ignore the EXIF orientation and turn transparency black.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack, NotRunnable
from harness.records.files import read_regular

# What decoding one picture may take. Refused by its header, before anything is decoded.
MAX_BYTES = 290_000_000
# Bytes a pixel while decoding, ours and the decoder's own: 4 of Pillow's picture and 4 of ours
# laid on white; libjpeg keeps 2 bytes a coefficient of a progressive picture (12 for CMYK), libwebp
# two canvases beside its own pixels, libtiff a strip as large as the picture. With these a photo
# of 24 million pixels passes, and so does in every format what the processor keeps (12,845,056).
BYTES_PER_PIXEL = {"JPEG": 12, "WEBP": 16, "TIFF": 16}
PLAIN_BYTES_PER_PIXEL = 8
MAX_PIXELS = MAX_BYTES // PLAIN_BYTES_PER_PIXEL
# What the pictures of one row may take once they are decoded, for they are asked for together:
# Pillow keeps 4 bytes a pixel. A dozen photos of 12 million pixels pass.
MAX_TOGETHER = 2 * MAX_BYTES
KEPT_BYTES_PER_PIXEL = 4
# An encoded picture is held in memory with its row.
MAX_ENCODED = 64 * 1024 * 1024
MAX_RATIO = 200  # the resize rule's own limit
# What product pictures come in. Pillow's other readers stay shut: EPS would start Ghostscript.
# (A JPEG that holds several pictures, MPO, is opened by the JPEG reader.)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
# Laid on white by strips: a whole picture at once would need several copies of itself.
STRIP_PIXELS = 1 << 18


def lay_on_white(image: Any) -> Any:
    """The picture turned by its EXIF orientation, on white, as RGB."""
    from PIL import Image, ImageOps

    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    grey = image.mode in {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
    is_deep = grey and _is_deep(image)
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        result.paste(_scaled_grey(strip, is_deep) if grey else _on_white(strip), (0, top))
    return result


def _strips(image: Any) -> Iterator[tuple[int, Any]]:
    """(first row, rows) of a picture from top to bottom."""
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _on_white(image: Any) -> Any:
    from PIL import Image

    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _numbers(image: Any) -> Any:
    """float64 (height, width): a grey's values, what is no number as 0."""
    import numpy as np

    return np.nan_to_num(np.asarray(image).astype(np.float64))


def _is_deep(image: Any) -> bool:
    """Whether a grey's values span 16 bits: 32-bit modes carry no range, and above 255 they are
    taken for 16."""
    if image.mode.startswith("I;16"):
        return True
    return any(_numbers(strip).max(initial=0.0) > 255.0 for _, strip in _strips(image))


def _scaled_grey(image: Any, is_deep: bool) -> Any:
    """16- and 32-bit greys as RGB of 8 bits; Pillow's own convert clips them to white instead."""
    import numpy as np
    from PIL import Image

    raw = _numbers(image)
    values = (np.round(raw / 257.0) if is_deep else raw).clip(0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values[raw == clear] = 255
    return Image.fromarray(values).convert("RGB")


def decode(data: Any, where: str = "the picture") -> Any:
    """An RGB picture from bytes, a `{"bytes": …}` dict, a PIL image, or a Path that may be read.

    Raises BadInput naming `where` for a text (a URL, or a path that nobody has looked at), for
    what is no picture, is empty, too large or too long, NotRunnable where no memory is left for it.
    Takes at most MAX_BYTES.
    """
    image = opened(data, where)
    # No format's reader is ours, and each has its own exceptions for what it cannot read.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about damaged EXIF and the like
            image.load()
            return lay_on_white(image)
    except MemoryError as error:
        raise _lacking(where) from error
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise BadInput(f"{where} is no readable picture ({reason}); replace it.") from error


def _lacking(where: str) -> NotRunnable:
    """What is said where memory ends: the picture is not to blame."""
    sentence = f"{where} cannot be decoded, for no memory is left; free some, or scale it down."
    return NotRunnable(sentence, Lack.MEMORY)


def opened(data: Any, where: str = "the picture") -> Any:
    """The picture with its header read and nothing decoded. Raises BadInput as decode does,
    for all that a header tells."""
    from PIL import Image, UnidentifiedImageError

    if not isinstance(data, Image.Image):
        data = encoded(data, where)
    try:
        with warnings.catch_warnings():
            # Pillow's own warning becomes our refusal below, by the same count of pixels.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            image = (
                data
                if isinstance(data, Image.Image)
                else Image.open(io.BytesIO(data), formats=FORMATS)
            )
    except UnidentifiedImageError as error:
        # Pillow's own words are the buffer's address.
        kinds = ", ".join(FORMATS)
        raise BadInput(f"{where} is no readable picture (none of {kinds}); replace it.") from error
    except MemoryError as error:
        raise _lacking(where) from error
    except Image.DecompressionBombError as error:
        reason = str(error).rstrip(".")
        raise BadInput(f"{where} is too large ({reason}); scale it down.") from error
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise BadInput(f"{where} is no readable picture ({reason}); replace it.") from error
    check_size(image.size, where, image.format or "")
    return image


def check_size(size: tuple[int, int], where: str, kind: str = "") -> None:
    """Refuse what the processor could not use, and what decoding would take too much memory for.

    kind: Pillow's name of the format. Raises BadInput.
    """
    width, height = size
    limit = MAX_BYTES // BYTES_PER_PIXEL.get(kind, PLAIN_BYTES_PER_PIXEL)
    if width * height > limit:
        raise BadInput(
            f"{where} has {width}×{height} pixels, the limit is {limit:,}"
            f"{f' for {kind}' if kind else ''}; scale it down."
        )
    if min(size) < 1:
        raise BadInput(f"{where} is no readable picture ({width}×{height} pixels); replace it.")
    if max(size) > MAX_RATIO * min(size):
        raise BadInput(
            f"{where} is {width}×{height}, more than {MAX_RATIO} times as long as wide; crop it."
        )


def check_sum(sizes: Sequence[tuple[int, int]], where: str) -> None:
    """Refuse a row whose pictures take too much memory together. Raises BadInput."""
    together = sum(KEPT_BYTES_PER_PIXEL * width * height for width, height in sizes)
    if together > MAX_TOGETHER:
        raise BadInput(
            f"{where} holds {len(sizes)} pictures of {together / 1e6:.0f} MB decoded, the limit is "
            f"{MAX_TOGETHER / 1e6:.0f} MB in a row; scale them down."
        )


def is_address(text: str) -> bool:
    """Whether a text names something on a network, or a file by its URL."""
    return "://" in text[:20] or text.startswith(("http:", "https:", "ftp:", "data:", "file:"))


def encoded(data: Any, where: str) -> bytes:
    """A picture's bytes, read where it is a Path. Raises BadInput for what holds none, for a text,
    and for too many."""
    if isinstance(data, dict):
        data = data.get("bytes") or data.get("path")
    if isinstance(data, str):
        kind = "a URL" if is_address(data) else "a path"
        raise BadInput(f"{where} is {kind} ({data[:60]!r}); give the picture's bytes.")
    if isinstance(data, Path):
        data = _read(data, where)
    if data is None:
        raise BadInput(f"{where} is missing; every sample needs its picture.")
    if not isinstance(data, bytes):
        raise BadInput(f"{where} is {type(data).__name__}, not a picture's bytes; replace it.")
    if len(data) > MAX_ENCODED:
        raise BadInput(
            f"{where} is a file of {len(data):,} bytes, the limit is {MAX_ENCODED:,}; "
            "scale it down."
        )
    return data


def _read(path: Path, where: str) -> bytes:
    try:
        return read_regular(path, MAX_ENCODED)
    except ValueError as error:
        raise BadInput(f"{where} cannot be read from {str(path)!r} ({error}).") from error
    except OSError as error:
        raise BadInput(f"{where} cannot be read from {str(path)!r} ({error.strerror}).") from error
