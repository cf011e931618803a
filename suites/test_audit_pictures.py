"""Whose pictures a row has, and what was done to them."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.measuring.audit.checks.text import _is_as_rendered
from harness.measuring.audit.contents import copied
from harness.measuring.audit.pictures import OWN, VARIANTS, Pictures
from harness.measuring.audit.rows import Row, cut, is_cut_at_start
from harness.measuring.audit.training import Batch
from harness.measuring.audit.turns import Spelling, turns_of
from harness.measuring.models import family, qwen2_vl
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.snapshots.source import STAND_IN
from suites.audited_pictures import coloured, noisy, of_batch, processor_of
from suites.oracles import pictures as picture_oracle


def test_a_copied_row_outlives_its_collator() -> None:
    picture = coloured(2, 2)
    row = {"image": picture, "messages": [{"role": "user", "content": []}]}
    kept = copied(row)
    row["messages"][0]["content"].append(row.pop("image"))  # type: ignore[attr-defined]
    assert kept == {"image": picture, "messages": [{"role": "user", "content": []}]}
    assert kept["image"] is picture


def test_variants_are_what_their_names_say() -> None:
    """In plain integers, by numpy."""
    seen = noisy(1)
    array = np.asarray(seen)
    variants = {name: make(seen, seen) for name, make in VARIANTS.items()}
    assert np.array_equal(variants["upside down"], array[::-1])
    assert np.array_equal(variants["blue for red"], array[..., ::-1])
    assert np.array_equal(variants["rescaled twice"], array >= 128)
    grey = np.asarray(variants["grey"])
    luma = array @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - luma[..., None]).max() <= 1
    assert (
        variants["not turned"]
        is variants["transparency dropped"]
        is variants["palette numbers"]
        is None
    )
    clear = noisy(2, "RGBA")
    dropped = VARIANTS["transparency dropped"](clear, None)
    assert np.array_equal(dropped, np.asarray(clear)[..., :3])
    indexed = VARIANTS["palette numbers"](seen.quantize(16), None)
    assert np.asarray(indexed).max() < 16


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_a_picture_that_is_not_turned_is_its_stored_one(orientation: int) -> None:
    stored = noisy(3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    picture = Image.open(file)
    assert np.array_equal(VARIANTS["not turned"](picture, None), np.asarray(stored))
    turned = picture_oracle.turned(np.asarray(stored), orientation)
    assert not np.array_equal(turned, np.asarray(stored))


def handed(own: list[Image.Image], given: list[Image.Image], dtype: str = "float32") -> list[str]:
    """Whose each picture of a batch is, where `given` was handed to the processor for `own`."""
    import torch

    processor = load_processor(STAND_IN)
    inputs = dict(processor.image_processor(images=given, return_tensors="pt"))
    inputs["pixel_values"] = inputs["pixel_values"].to(getattr(torch, dtype))
    batch = Batch({"input_ids": torch.zeros(len(own), 1), **inputs})
    rows = [
        Row(number, batch, number, {"image": picture}, [], None, [], [])
        for number, picture in enumerate(own)
    ]
    audited: Any = SimpleNamespace(processor=processor, family=qwen2_vl, tokenizer=None)
    pictures = Pictures(audited, batch, rows)
    assert pictures.count == len(own)
    return [pictures.whose(given) for given in pictures.given()]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_whose_pictures_are(dtype: str) -> None:
    one, two, three = noisy(1), noisy(2), noisy(3)
    assert handed([one, two, three], [one, two, three], dtype) == [OWN] * 3
    assert handed([one, two, three], [two, one, three], dtype) == ["row 1", "row 0", OWN]
    assert handed([one, one], [one, one], dtype) == [OWN] * 2
    assert handed([one, two], [one.convert("L").convert("RGB"), two], dtype) == ["grey", OWN]


def otherwise(family: str, own: list[list[Image.Image]], given: list[Any]) -> list[str]:
    """The same of rows of another family, each of several pictures; None for a row without any."""
    import torch

    inputs = dict(processor_of(family).image_processor(images=given, return_tensors="pt"))
    pictures = of_batch(family, own, {"input_ids": torch.zeros(len(own), 1), **inputs})
    assert pictures.count == sum(map(len, own))
    return [pictures.whose(given) for given in pictures.given()]


@pytest.mark.parametrize("family", ["gemma3", "gemma4"])
def test_whose_pictures_are_where_each_has_an_entry(family: str) -> None:
    """Of several shapes, which these families fill up or stretch; one row has two, one has none."""
    one, two, three = noisy(1), noisy(2, size=(140, 60)), noisy(3, size=(84, 84))
    own = [[one], [], [two, three]]
    assert otherwise(family, own, [one, two, three]) == [OWN] * 3
    assert otherwise(family, own, [two, one, three]) == ["row 2", "row 0", OWN]
    assert otherwise(family, own, [one, three, two]) == [OWN, "place 1", "place 0"]
    assert otherwise(family, own, [one.convert("L").convert("RGB"), two, three])[0] == "grey"


def test_whose_pictures_are_in_rows_of_tiles() -> None:
    """Of several numbers of tiles, which rows are filled up to."""
    one, two, three = noisy(1), noisy(2, size=(140, 60)), noisy(3, size=(84, 84))
    own = [[one], [two, three]]
    assert otherwise("idefics3", own, [[one], [two, three]]) == [OWN] * 3
    same = noisy(4)
    assert otherwise("idefics3", [[one], [same]], [[same], [one]]) == ["row 1", "row 0"]


def test_pictures_that_are_resized_or_cropped_before_are_still_their_rows() -> None:
    """No mistake is seen in what only changes size or detail: nearest is the row's own."""
    photos = [noisy(seed).resize((140, 168), Image.Resampling.BICUBIC) for seed in (1, 2)]
    smaller = [photo.resize((56, 84), Image.Resampling.BILINEAR) for photo in photos]
    assert handed(photos, smaller) == [OWN, OWN]
    assert handed(photos, smaller[::-1]) == ["row 1", "row 0"]
    assert handed(photos, [p.crop((6, 6, 134, 162)) for p in photos]) == [OWN, OWN]


def test_pictures_on_another_ground_than_white_are_no_dropped_transparency() -> None:
    clear = noisy(4, "RGBA")
    grounds = {}
    for colour in ("white", "grey", "black"):
        ground = Image.new("RGBA", clear.size, colour)
        grounds[colour] = Image.alpha_composite(ground, clear).convert("RGB")
    assert handed([clear], [grounds["white"]]) == [OWN]
    assert handed([clear], [grounds["grey"]]) == [OWN]
    assert handed([clear], [clear.convert("RGB")]) == ["transparency dropped"]


SPELLED = Spelling(
    headers={"user": "<u>", "assistant": "<a>"}, ends={"user": "</u>", "assistant": "</a>"}
)


def rows_cut(text: str, feature: Any, limit: int) -> tuple[str, bool]:
    """What is said to be cut of a row of one token a letter."""
    import torch

    texts = list(text)
    ids = torch.ones(1, len(texts), dtype=torch.int64)
    row = Row(
        0,
        Batch({"input_ids": ids}),
        0,
        feature,
        ids[0].tolist(),
        None,
        texts,
        turns_of(texts, SPELLED),
    )
    audited: Any = SimpleNamespace(
        spelled=SPELLED, picture_token_id=0, declared={"max_length": limit}, source=""
    )
    return cut(audited, row), is_cut_at_start(audited, row)


@pytest.mark.parametrize(
    ("text", "feature", "limit", "wanted"),
    [
        ("<u>why</u><a>so</a>", None, 99, ("", False)),
        ("<u>why</u><a>so</a>", None, 19, ("", False)),
        ("<u>why</u><a>so", None, 15, ("answer", False)),
        ("<u>why</u><a>so", None, 99, ("", False)),
        ("<u>why</u><a>so", {"answer": "so it is"}, 99, ("answer", False)),
        ("<u>why</u><a>so", {"answer": "so"}, 99, ("", False)),
        ("<u>wh", None, 5, ("prompt", False)),
        ("hy</u><a>so</a>", None, 99, ("", True)),
        ("o</a>", None, 5, ("", True)),
        ("just text", None, 9, ("", False)),
    ],
)
def test_what_was_cut(text: str, feature: Any, limit: int, wanted: tuple[str, bool]) -> None:
    assert rows_cut(text, feature, limit) == wanted


# The template has written the begin token.
BARE = {"add_special_tokens": False}
CROPS = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 28,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}


def crops(rows: list[list[Image.Image]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Conversations, and the batch of a processor that is told in the call to cut pictures."""
    processor = processor_of("gemma3")
    answer = {"role": "assistant", "content": [{"type": "text", "text": "A mug."}]}
    asked = {"type": "text", "text": "What is it?"}
    turns = [
        [
            {"role": "user", "content": [*({"type": "image", "image": p} for p in row), asked]},
            answer,
        ]
        for row in rows
    ]
    texts = [processor.apply_chat_template(each, tokenize=False) for each in turns]
    batch = processor(text=texts, images=rows, return_tensors="pt", padding=True, **BARE, **CROPS)
    return [{"messages": each} for each in turns], dict(batch)


def test_words_that_a_processor_writes_around_its_crops_are_the_templates_rendering() -> None:
    """And those that a collator wrote are not."""
    processor = processor_of("gemma3")
    features, inputs = crops([[noisy(1)], [noisy(2, size=(84, 84))]])
    assert len(inputs["pixel_values"]) == 4
    training: Any = SimpleNamespace(
        processor=processor,
        tokenizer=processor.tokenizer,
        never_trained=dict(enumerate(family("gemma3").CHAT.masked)),
        family=family("gemma3"),
    )
    for place, feature in enumerate(features):
        text = processor.tokenizer.decode(inputs["input_ids"][place]).replace("<pad>", "")
        for written, right in ((text, True), (text.replace("What is", "And here is"), False)):
            row = Row(place, Batch(inputs), place, feature, [], None, [written], [])
            assert _is_as_rendered(training, row) is right, written


def test_crops_of_some_rows_are_not_taken_for_all_rows_pictures() -> None:
    """Four tiles of two rows' pictures, and four rows: whose they are is not said."""
    rows = [[noisy(1)], [], [noisy(2, size=(84, 84))], []]
    features, inputs = crops(rows)
    batch = Batch(inputs)
    audited: Any = SimpleNamespace(processor=processor_of("gemma3"), family=family("gemma3"))
    audited_rows = [Row(i, batch, i, f, [], None, [], []) for i, f in enumerate(features)]
    assert len(inputs["pixel_values"]) == len(rows)
    assert Pictures(audited, batch, audited_rows).count is None
