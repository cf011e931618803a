"""What an audit says of rows, against other computations of the same: oracles, and by hand."""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageColor

from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks import checker
from harness.measuring.audit.contents import copied, is_ordered, pictures_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.opening import open_training
from harness.measuring.audit.pictures import OWN, VARIANTS, Pictures
from harness.measuring.audit.rows import Row, cut, is_cut_at_start, rows_of
from harness.measuring.audit.stated import stated
from harness.measuring.audit.training import Batch, Training
from harness.measuring.audit.turns import Spelling, turns_of
from harness.measuring.models import qwen2_vl
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.snapshots.source import STAND_IN
from harness.records.audit import Check, DrawnRow
from suites.audits import TRAININGS, lacks
from suites.oracles import labels as label_oracle
from suites.oracles import pictures as picture_oracle
from suites.oracles import resize, template

IGNORED = -100


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def training(name: str, scratch: Path) -> Training:
    path = TRAININGS / f"{name}.py"
    source = path.read_text("utf-8")
    lack = lacks(source)
    if lack:
        pytest.skip(f"NOT_RUN: {name} {lack}")
    with mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}):
        return training_of(open_training(path, "", scratch), 2, "", source)


def checked(rung: str, audited: Training) -> tuple[dict[str, Check], list[DrawnRow]]:
    findings = Findings(rung)
    measure = checker(rung)
    assert measure is not None
    measure.checks(audited, findings)
    result = findings.finish(0.0)
    return {check.name: check for check in result.checks}, list(result.rows)


def controls(audited: Training) -> dict[str, int]:
    names = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
    return {name: audited.tokenizer.convert_tokens_to_ids(name) for name in names}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("plain_trainer", (3136, 12_845_056)),
        ("two_images", (3136, 6 * 784)),
        ("cookbook_qwen2_vl", (3136, 8 * 784)),
        ("trl_sft_vlm", (3136, 12_845_056)),
    ],
)
def test_image_tokens_are_those_of_the_resize_rule(
    name: str, limits: tuple[int, int], scratch: Path
) -> None:
    """The oracle resizes the dataset's own pictures as they are seen, never the batch's grids."""
    audited = training(name, scratch)
    wanted = []
    for row in rows_of(audited):
        sizes = []
        for picture in pictures_of(row.feature):
            turned = picture.getexif().get(0x0112, 1) >= 5
            width, height = picture.size[::-1] if turned else picture.size
            sizes.append(resize.resized(height, width, limits))
        wanted.append(sum(resize.image_tokens(*size) for size in sizes))
    checks, _ = checked("images", audited)
    assert all(wanted)
    assert checks["image_tokens"].value == wanted
    assert checks["image_tokens"].truth == wanted


def test_a_rows_pixels_are_the_colour_that_its_answer_says(scratch: Path) -> None:
    """Solid pictures: each pixel is (colour / 255 - mean) / deviation, whatever resizes them."""
    audited = training("plain_trainer", scratch)
    checks, _ = checked("images", audited)
    assert (checks["other_rows"].value, checks["colours"].value) == (0, 0)
    for batch in audited.batches:
        rows = [row for row in rows_of(audited) if row.batch is batch]
        counts = batch.inputs["image_grid_thw"].prod(-1).tolist()
        for row, pixels in zip(rows, batch.inputs["pixel_values"].split(counts), strict=True):
            colour = row.text.rsplit("It is ", 1)[1].split(".")[0]
            level = np.array(ImageColor.getrgb(colour)) / 255.0
            wanted = (level - resize.MEAN) / resize.STD
            channels = pixels.float().cpu().numpy().reshape(-1, 3, 2 * 14 * 14)
            assert np.abs(channels - wanted[None, :, None]).max() < 1e-5


@pytest.mark.parametrize("name", ["trl_sft_vlm", "assistant_only", "unpacked_text"])
def test_rows_are_what_the_template_oracle_writes(name: str, scratch: Path) -> None:
    audited = training(name, scratch)
    for row in rows_of(audited):
        turns = row.feature.get("messages") or row.feature["prompt"] + row.feature["completion"]
        turns = [dict(turn) for turn in turns]
        if "images" in row.feature:
            asked = {"type": "text", "text": turns[0]["content"]}
            turns[0]["content"] = [{"type": "image"}, asked]
        text = audited.tokenizer.decode(row.ids, skip_special_tokens=False)
        count = row.ids.count(controls(audited)["<|image_pad|>"])
        single = text.replace("<|image_pad|>" * count, "<|image_pad|>") if count else text
        assert single == template.render(turns)
    checks, _ = checked("text", audited)
    assert (checks["rendering"].value, checks["turns_lost"].value) == (0, 0)


def test_a_plain_collators_labels_are_the_oracles_completion(scratch: Path) -> None:
    audited = training("plain_trainer", scratch)
    control = controls(audited)
    header = audited.tokenizer.encode("<|im_start|>assistant", add_special_tokens=False)
    shares: Counter[str] = Counter()
    words = {
        role: audited.tokenizer.encode(role, add_special_tokens=False)
        for role in ("system", "user", "assistant")
    }
    for row in rows_of(audited):
        wanted = label_oracle.completion(row.ids, control, audited.pad_token_id or 0, header)
        assert row.labels == wanted
        roles = label_oracle.roles(row.ids, control, words)
        shares.update(r for r, label in zip(roles, wanted, strict=True) if label != IGNORED)
    checks, _ = checked("labels", audited)
    assert checks["trained_by_role"].value == dict(shares)


def test_assistant_only_trains_every_answer_with_its_end(scratch: Path) -> None:
    audited = training("assistant_only", scratch)
    for row in rows_of(audited):
        answers = [t["content"] for t in row.feature["messages"] if t["role"] == "assistant"]
        trained = [label for label in row.labels or () if label != IGNORED]
        assert audited.tokenizer.decode(trained) == "".join(f"{a}<|im_end|>" for a in answers)
    checks, _ = checked("labels", audited)
    assert (checks["ends_untrained"].value, checks["headers_trained"].value) == (0, 0)
    assert (checks["answers_masked"].value, checks["prompt_trained"].value) == (0, 0)


def test_the_drawn_row_is_the_batchs(scratch: Path) -> None:
    """Every token once, padding too; what is called trained is what has a label."""
    audited = training("two_images", scratch)
    _, drawn = checked("labels", audited)
    batch = audited.batches[0]
    for row, tokens in enumerate(row.tokens for row in drawn):
        labels, mask = batch.labels[row].tolist(), batch.mask[row].tolist()
        assert [t.kind == "trained" for t in tokens] == [label != IGNORED for label in labels]
        assert [t.role == "padding" for t in tokens] == [not seen for seen in mask]
        images = [i == audited.picture_token_id for i in batch.ids[row].tolist()]
        assert [t.kind == "image" for t in tokens] == images
    assert "picture two" in drawn[0].sample
    assert "→ A round sticker" in drawn[0].sample
    assert drawn[0].pictures == ((112, 56), (84, 84))


def test_rows_keep_the_columns_that_the_trainer_takes_away(scratch: Path) -> None:
    audited = training("unpacked_text", scratch)
    assert all("prompt" in row.feature and "input_ids" in row.feature for row in rows_of(audited))
    for row in rows_of(audited):
        assert row.feature["input_ids"] == row.ids


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("a = f(max_pixels=1280 * 28 * 28)", [1280 * 28 * 28]),
        ("SIDE = 28\nprocessor.max_pixels = 4 * SIDE * SIDE", [4 * 28 * 28]),
        ("MAX_PIXELS = 100\nf(max_pixels=MAX_PIXELS)", [100, 100]),
        ("size['max_pixels'] = 7 - 2", [5]),
        ("part = {'type': 'image', 'max_pixels': 9 // 2}", [4]),
        ("f(max_pixels=arguments.pixels, other=3)", []),
        ("f(max_pixels=True)", []),
        ("f(max_pixels=1 // 0)", []),
        ("def broken(:", []),
    ],
)
def test_stated_numbers(source: str, numbers: list[int]) -> None:
    assert sorted(stated(source, "max_pixels")) == numbers


def coloured(*size: int, colour: str = "red") -> Image.Image:
    return Image.new("RGB", (size[0], size[1]), colour)


def test_pictures_of_a_row(tmp_path: Path) -> None:
    one, two = coloured(2, 3), coloured(4, 5)
    assert pictures_of({"image": one, "images": [one, two], "text": "x"}) == [one, two]
    turns = [{"role": "user", "content": [{"type": "image", "image": two}] * 2}]
    assert pictures_of({"images": [one], "messages": turns}) == [two, two]
    file = io.BytesIO()
    one.save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    (tmp_path / "b.png").write_text("no picture")
    row = {"image": {"bytes": file.getvalue(), "path": None}, "b": str(tmp_path / "b.png")}
    assert [p.size for p in pictures_of(row)] == [(2, 3)]
    assert [p.size for p in pictures_of({"file": f"file://{tmp_path}/a.png"})] == [(2, 3)]
    assert pictures_of({"text": "a.png", "ids": [1, 2]}) == []
    assert is_ordered({"images": [one, two]})
    assert not is_ordered({"before": one, "after": two})


def test_a_copied_row_outlives_its_collator() -> None:
    picture = coloured(2, 2)
    row = {"image": picture, "messages": [{"role": "user", "content": []}]}
    kept = copied(row)
    row["messages"][0]["content"].append(row.pop("image"))  # type: ignore[attr-defined]
    assert kept == {"image": picture, "messages": [{"role": "user", "content": []}]}
    assert kept["image"] is picture


def noisy(seed: int, mode: str = "RGB", size: tuple[int, int] = (56, 84)) -> Image.Image:
    shape = (size[1], size[0], len(mode))
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode
    )


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
