"""Hostile pictures: at most 300 MB and 5 s each, refused in words or decoded, never a hang."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.pictures import BYTES_PER_PIXEL, MAX_BYTES, MAX_PIXELS, decode, opened
from harness.data.samples import MODES, mode_picture
from harness.errors import BadInput
from suites.reliability.counts import LARGE, count
from suites.reliability.memory import cost

MEGABYTES, SECONDS = 300.0, 5.0

# Format, mode and options of every way that decoding takes much for a small file.
BOMBS: list[tuple[str, str, dict[str, Any]]] = [
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {}),
    ("TIFF", "F", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "I;16", {"compression": "tiff_lzw"}),
    ("PNG", "I;16", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {"transparency": 0}),
    ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
    ("JPEG", "CMYK", {"progressive": True}),
    ("GIF", "P", {}),
    ("BMP", "1", {}),
]
IDS = [f"{kind}-{mode}" for kind, mode, _ in BOMBS]


def encoded(size: tuple[int, int], kind: str, mode: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "mode", "options"), BOMBS, ids=IDS)
def test_the_largest_picture_that_passes_stays_below_the_limits(
    kind: str, mode: str, options: dict[str, Any]
) -> None:
    """In CI a sixteenth of the pixels and of the bytes; large runs the limit itself."""
    share = 1 if LARGE else 16
    side = int((MAX_BYTES / BYTES_PER_PIXEL.get(kind, 8) / share) ** 0.5)
    data = encoded((side, side), kind, mode, options)
    took = cost(lambda: decode(data))
    assert took.refusal == ""
    assert took.megabytes <= MEGABYTES / share * (1.0 if LARGE else 1.5), took
    assert took.seconds <= SECONDS, took


@pytest.mark.parametrize(("kind", "mode", "options"), BOMBS, ids=IDS)
def test_one_pixel_more_is_refused_by_the_header(
    kind: str, mode: str, options: dict[str, Any]
) -> None:
    """The header of a picture of the limit's size is asked; nothing is decoded for it."""
    limit = MAX_BYTES // BYTES_PER_PIXEL.get(kind, 8)
    small = encoded((64, 64), kind, mode, options)
    picture = Image.open(io.BytesIO(small))
    picture._size = (limit // 1000 + 1, 1000)
    took = cost(lambda: decode(picture))
    assert "the limit is" in took.refusal
    assert took.megabytes < 5


def test_thirty_four_bytes_of_webp_take_nothing() -> None:
    """A lossless picture of 16,383² pixels: 1.5 GB and 4.4 s before its header was believed."""
    bits = (16_383 - 1) | ((16_383 - 1) << 14)
    body = b"VP8L" + struct.pack("<I", 14) + b"\x2f" + struct.pack("<I", bits) + bytes(9)
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    took = cost(lambda: decode(data, "Row 1"))
    assert took.refusal.startswith("Row 1")
    assert took.megabytes < 5
    assert took.seconds < 1


def files() -> Iterator[tuple[str, bytes]]:
    """A small picture of every format, and of every mode that the format takes."""
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        for mode in MODES:
            buffer = io.BytesIO()
            try:
                # Pillow 12.3 warns of what 13 refuses.
                with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                    mode_picture(mode).save(buffer, kind)
                Image.open(io.BytesIO(buffer.getvalue())).load()
            except (OSError, ValueError):  # the format has no such mode, or Pillow reads it not
                continue
            yield f"{kind}-{mode}", buffer.getvalue()


FILES = tuple(files())


@pytest.mark.parametrize(("name", "data"), FILES, ids=[name for name, _ in FILES])
def test_truncations_flips_and_modes_are_pictures_or_sentences(
    name: str, data: bytes, tried: Any
) -> None:
    tried(2 * count(6, 20))
    assert decode(data).mode == "RGB"
    dice = random.Random(name)
    for _ in range(count(6, 20)):
        cut = data[: dice.randrange(len(data))]
        flipped = bytearray(data)
        flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        for hostile in (cut, bytes(flipped)):
            took = cost(lambda hostile=hostile: decode(hostile, "Row 3"))
            assert took.refusal == "" or took.refusal.startswith("Row 3"), took
            assert "\n" not in took.refusal
            assert took.megabytes <= MEGABYTES
            assert took.seconds <= SECONDS


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@settings(max_examples=count(40, 400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exif=st.binary(max_size=200))
def test_any_exif_is_a_picture_or_a_sentence(exif: bytes) -> None:
    data = encoded((8, 8), "PNG", "RGB", {})
    head = 8 + 25  # the signature and the chunk IHDR
    for block in (exif, b"II*\0\x08\0\0\0" + exif, b"Exif\0\0MM\0*\0\0\0\x08" + exif):
        hostile = data[:head] + chunk(b"eXIf", block) + data[head:]
        assert cost(lambda hostile=hostile: decode(hostile)).megabytes <= MEGABYTES


@settings(max_examples=count(60, 600), deadline=None)
@given(data=st.binary(max_size=300), head=st.sampled_from([b"RIFF", b"GIF89a", b"BM", b"II*\0"]))
def test_any_bytes_are_a_picture_or_a_sentence(data: bytes, head: bytes) -> None:
    for hostile in (data, head + data):
        took = cost(lambda hostile=hostile: decode(hostile))
        assert took.megabytes <= MEGABYTES


@pytest.mark.parametrize("turn", range(2, 9))
def test_a_turned_picture_is_the_same_by_strips(turn: int, monkeypatch: Any) -> None:
    """Bit for bit what one strip of the whole picture gives."""
    picture = mode_picture("RGBA")
    picture.getexif()[0x0112] = turn
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=picture.getexif())
    whole = decode(buffer.getvalue())
    monkeypatch.setattr("harness.data.pictures.STRIP_PIXELS", 100)
    assert decode(buffer.getvalue()).tobytes() == whole.tobytes()


def test_what_is_no_bytes_is_refused() -> None:
    for data in (5, ["x"], {"bytes": 5}, {"bytes": "x", "path": None}, object()):
        with pytest.raises(BadInput):
            opened(data, "Row 1")
    assert MAX_PIXELS * 8 <= MAX_BYTES
