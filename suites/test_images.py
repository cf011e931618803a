"""Rung 4: what becomes of a picture on its way to the model."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data.pictures import decode, lay_on_white
from harness.data.samples import gradient, mode_picture, training_conversations, turned_picture
from harness.errors import BadInput
from harness.judging.goldens.judgement import Judgement
from harness.measuring.models import qwen2_vl
from harness.measuring.probes._limits import kept_defaults
from harness.measuring.snapshots.loading import load_config
from harness.measuring.training.collate import check_image_tokens, make_collator
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import REFERENCE
from harness.records.context import Context
from suites.oracles import pictures, resize


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("images"))


def test_what_a_processor_writes_into_its_class_does_not_stay() -> None:
    """transformers up to 5.17 writes one processor's limit there; later rungs share the process."""
    library = {"__module__": "transformers.models.some.image_processing_some"}
    parent = type("Parent", (), {**library, "size": {"longest_edge": 9}})
    kind = type("Kind", (parent,), {**library, "rescale": {"by": 2}})
    with kept_defaults(kind):
        kind.size["longest_edge"] = 1
        kind.rescale = {"by": 3}
    assert (kind.size, kind.rescale) == ({"longest_edge": 9}, {"by": 2})


def scales_tiny_pictures(processor: Any) -> bool:
    """Whether this stack scales a 27×27 picture up; transformers 4.45.1 refuses it."""
    try:
        processor.image_processor(images=[gradient(27, 27)], return_tensors="pt")
    except ValueError:
        return False
    return True


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700))
def test_any_size_has_the_rules_grid(processor: Any, width: int, height: int) -> None:
    picture = gradient(width, height)
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(ValueError, match=r"200|larger than factor"):
            processor.image_processor(images=[picture], return_tensors="pt")
        return
    if min(width, height) < 28 and not scales_tiny_pictures(processor):
        # images.grid.1x1 and .27 name this refusal; grids of tiny pictures are judged elsewhere.
        with pytest.raises(ValueError, match="larger than factor"):
            processor.image_processor(images=[picture], return_tensors="pt")
        return
    if resize.on_the_edge(height, width, resize.PROCESSOR_LIMITS):
        return  # images.resize_rule holds these to the exact rule
    out = processor.image_processor(images=[picture], return_tensors="pt")
    final = resize.resized(height, width, resize.PROCESSOR_LIMITS)
    assert tuple(out["image_grid_thw"][0].tolist()) == resize.grid(*final)
    assert len(out["pixel_values"]) == final[0] * final[1] // 196


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5))
def test_pixels_of_an_unresized_picture_are_exact(processor: Any, rows: int, columns: int) -> None:
    picture = gradient(28 * columns + 28, 28 * rows + 28)
    out = processor.image_processor(images=[picture], return_tensors="np")
    wanted = resize.patches(np.asarray(picture))
    # Normalising in float32 instead of float64 costs a few units in the last place of 2.7.
    np.testing.assert_allclose(out["pixel_values"], wanted, rtol=0, atol=4 * 2.7 * 2.0**-23)


def test_truncation_that_cuts_image_tokens_is_an_error(processor: Any, context: Context) -> None:
    batch = make_collator(processor, REFERENCE, qwen2_vl)(training_conversations(2))
    image_id = load_config(context.snapshot).image_token_id
    expected = qwen2_vl.image_tokens(processor, batch, [1, 1])
    assert expected == [
        resize.image_tokens(14 * r, 14 * c) for _, r, c in batch["image_grid_thw"].tolist()
    ]
    cut = batch["input_ids"][:, :40]
    with pytest.raises(BadInput, match="image tokens"):
        check_image_tokens(cut, image_id, expected)
    check_image_tokens(batch["input_ids"], image_id, expected)


def test_our_decoder_turns_once_and_lays_on_white() -> None:
    turned = lay_on_white(turned_picture())
    assert turned.size == (56, 84)
    assert lay_on_white(turned).tobytes() == turned.tobytes()
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (10, 20, 30, 255))
    assert np.asarray(lay_on_white(half)).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_deep_greys_keep_their_shades() -> None:
    deep = Image.frombytes("I;16", (3, 1), np.array([0, 32896, 65535], "<u2").tobytes())
    assert np.asarray(lay_on_white(deep))[0, :, 0].tolist() == [0, 128, 255]
    dark = Image.frombytes("I;16", (2, 1), np.array([0, 200], "<u2").tobytes())
    assert np.asarray(lay_on_white(dark)).max() == 1
    dark.info["transparency"] = 0
    assert np.asarray(lay_on_white(dark))[0, :, 0].tolist() == [255, 1]


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_transparency_is_blended_with_white(mode: str) -> None:
    picture = mode_picture(mode)
    wanted = pictures.on_white(np.asarray(picture.convert("RGBA")))
    gap = np.abs(np.asarray(lay_on_white(picture)).astype(int) - wanted)
    assert gap.max() <= 1  # Pillow rounds the blend in its own way


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    gradient(84, 56).save(buffer, "PNG", exif=exif)
    wanted = pictures.turned(np.asarray(gradient(84, 56)), orientation)
    assert np.array_equal(np.asarray(decode(buffer.getvalue())), wanted)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA"])
def test_formats_that_need_other_programs_stay_shut(kind: str) -> None:
    buffer = io.BytesIO()
    gradient(40, 30).save(buffer, kind)
    with pytest.raises(BadInput, match="no readable picture"):
        decode(buffer.getvalue())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP"]), st.data())
def test_damaged_files_decode_or_are_refused(kind: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient(40, 30).save(buffer, kind, **({"exif": exif} if kind == "JPEG" else {}))
    raw = bytearray(buffer.getvalue())
    for _ in range(3):
        raw[data.draw(st.integers(0, min(len(raw), 300) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadInput):  # any other exception fails
        assert decode(bytes(raw)).mode == "RGB"


def claiming(side: int) -> bytes:
    """A PNG of a few bytes whose header says side × side pixels."""
    raw = bytearray(png(Image.new("L", (1, 1))))
    raw[16:24] = struct.pack(">II", side, side)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


def png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"not a picture", "no readable picture"),
        (b"", "no readable picture"),
        (None, "missing"),
        ("https://example.org/x.png", "URL"),
        ("/etc/hostname", "path"),
        ({"path": "x.png", "bytes": None}, "path"),
        (png(gradient(60, 60))[:200], "no readable picture"),
        (png(Image.new("1", (9000, 9000))), "limit"),
        (claiming(60_000), "too large"),
        (png(Image.new("L", (1, 300))), "200 times"),
    ],
)
def test_bad_pictures_are_refused_in_a_sentence(data: Any, match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        decode(data, "row 3, column image")
    assert str(caught.value).startswith("row 3, column image")
    assert "object at 0x" not in str(caught.value)
    assert ".)" not in str(caught.value)


def test_bytes_and_dicts_decode() -> None:
    assert decode({"bytes": png(gradient(9, 7))}).size == (9, 7)
