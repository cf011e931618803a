"""What an audit says of rows, against other computations of the same: oracles, and by hand."""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ImageColor

from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks import checker
from harness.measuring.audit.checks._slope import _extrapolated, _seen
from harness.measuring.audit.checks.text import _bare
from harness.measuring.audit.contents import is_ordered, pictures_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.opening import open_training
from harness.measuring.audit.rows import rows_of
from harness.measuring.audit.scoring import collated
from harness.measuring.audit.stated import stated
from harness.measuring.audit.training import Batch, Training
from harness.measuring.snapshots.source import STAND_IN
from harness.records.audit import Check, DrawnRow
from suites.audited_pictures import coloured
from suites.audits import TRAININGS, lacks
from suites.oracles import labels as label_oracle
from suites.oracles import resize, template
from suites.small_trainings import OTHER_ROWS, SMALL

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


@given(cubic=st.floats(-1, 1), quintic=st.floats(-1, 1))
@example(cubic=0.032, quintic=-0.0256)
def test_a_slope_is_never_further_off_than_it_says(cubic: float, quintic: float) -> None:
    """Central differences of x + cubic x^3 + quintic x^5 are 1 + cubic h^2 + quintic h^4; in the
    example those of 1 and 1/2 are equal, and what was made of them 0.6 % off."""
    slope, error = _extrapolated(lambda x: x + cubic * x**3 + quintic * x**5, 1.0)
    assert abs(slope - 1) <= error + 1e-12
    assert abs(slope - 1) <= abs(quintic) / 64 + 1e-12


def test_the_slope_is_asked_of_targets_that_something_predicts() -> None:
    """Rows padded left by two and by none: of the first one the first token is predicted by
    padding, of the second one by nothing at all."""
    ids = torch.tensor([[9, 9, 2, 5], [2, 6, 7, 8]])
    mask = (ids != 9).long()
    labels = ids.masked_fill(mask == 0, IGNORED)
    kept = _seen(Batch({"input_ids": ids, "attention_mask": mask, "labels": labels}))["labels"]
    assert kept.tolist() == [[IGNORED, IGNORED, IGNORED, 5], [2, 6, 7, 8]]
    assert labels[0, 2] == 2


def test_line_breaks_that_a_processor_puts_around_a_picture_are_its_own() -> None:
    """Gemma 3's writes two before and behind each; Qwen's writes none, so that those are the
    user's."""
    template, row = "Look: <i><e>", "Look:\n\n <i><i>\n\n<e>"
    assert _bare(template, ["<i>"], "<e>", apart=True) == _bare(row, ["<i>"], "<e>", apart=True)
    assert _bare(template, ["<i>"], "<e>") != _bare(row, ["<i>"], "<e>")


def test_a_collator_that_empties_its_rows_is_called_again(tmp_path: Path) -> None:
    """On rows as the dataset has them: TRL's put what they make of a row into it."""
    path = tmp_path / "train.py"
    text = """

def collate(rows):
    return {
        "labels": torch.tensor([row.pop("labels") for row in rows]),
        "input_ids": torch.tensor([row.pop("input_ids") for row in rows]),
    }


def make_trainer():
    arguments = TrainingArguments(output_dir="mine", use_cpu=True, remove_unused_columns=False)
    return Trainer(Small(Config()), arguments, collate, [*map(dict, rows)])
"""
    path.write_text(SMALL + OTHER_ROWS + text, "utf-8")
    audited = training_of(open_training(path, "", tmp_path / "scratch"), 1, "")
    batch = audited.batches[0]
    for _ in range(2):
        again = collated(audited, batch.features)
        assert again.ids.tolist() == batch.ids.tolist()
