"""Rung 4: what becomes of a picture on its way to the model."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.collate import check_image_tokens, make_collator
from harness.context import Context
from harness.errors import BadInput
from harness.judgement import Judgement
from harness.models import family
from harness.pictures import decode, lay_on_white
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe import REFERENCE
from harness.samples import gradient, training_conversations, turned_picture
from suites.oracles import resize


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("images"))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700))
def test_any_size_has_the_rules_grid(processor: Any, width: int, height: int) -> None:
    picture = gradient(width, height)
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(ValueError, match="200"):
            processor.image_processor(images=[picture], return_tensors="pt")
        return
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
    batch = make_collator(processor, REFERENCE)(training_conversations(2))
    image_id = family(context.family).load_config(context.snapshot).image_token_id
    cut = batch["input_ids"][:, :40]
    with pytest.raises(BadInput, match="image tokens"):
        check_image_tokens(cut, batch["image_grid_thw"], image_id, 2)
    check_image_tokens(batch["input_ids"], batch["image_grid_thw"], image_id, 2)


def test_our_decoder_turns_once_and_lays_on_white() -> None:
    turned = lay_on_white(turned_picture())
    assert turned.size == (56, 84)
    assert lay_on_white(turned).tobytes() == turned.tobytes()
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (10, 20, 30, 255))
    assert list(lay_on_white(half).getdata()) == [(255, 255, 255), (10, 20, 30)]


def test_deep_greys_keep_their_shades() -> None:
    deep = Image.frombytes("I;16", (3, 1), np.array([0, 32896, 65535], "<u2").tobytes())
    assert [p[0] for p in lay_on_white(deep).getdata()] == [0, 128, 255]


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
        (png(Image.new("L", (1, 300))), "200 times"),
    ],
)
def test_bad_pictures_are_refused_in_a_sentence(data: Any, match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        decode(data, "row 3, column image")
    assert str(caught.value).startswith("row 3, column image")


def test_bytes_and_dicts_decode() -> None:
    assert decode({"bytes": png(gradient(9, 7))}).size == (9, 7)
