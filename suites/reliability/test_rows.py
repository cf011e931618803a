"""Rows that must not reach a training: tokens, encodings, shapes, splits. Each refused in one
sentence with its row."""

from __future__ import annotations

import base64
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import check_row, load_rows
from harness.data.intake import Data, added_tokens, check_data
from harness.data.shapes import TEXT_COLUMNS
from harness.data.tables import MAX_LINE
from harness.errors import BadInput
from harness.measuring.snapshots.source import STAND_IN
from suites.reliability.counts import count
from suites.reliability.memory import cost
from suites.reliability.rows import png, product, refusal, write


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A vocabulary with tokens that are added and not special, in every file that lists them."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    listed = json.loads((STAND_IN / "tokenizer_config.json").read_text())
    listed["added_tokens_decoder"]["900"] = {"content": "<|placeholder|>", "special": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(listed))
    whole = {"added_tokens": [{"id": 901, "content": "<tool_call>", "special": False}]}
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    (folder / "added_tokens.json").write_text(json.dumps({"<|extra|>": 902}))
    special = {"pad_token": "<|pad|>", "additional_special_tokens": [{"content": "<|more|>"}]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


def test_every_added_token_in_every_column_and_place_is_refused(snapshot: Path, tried: Any) -> None:
    tokens = added_tokens(snapshot)
    assert len(tokens) == 14 + 5
    places = ["{}", "{} doll", "doll {}", "a {} doll", "a{}doll", "\n{}", "{0}{0}", "ü{}", "<{}>"]
    for token, column, place in itertools.product(tokens, TEXT_COLUMNS, places):
        row = product(**{column: place.format(token)})
        with pytest.raises(BadInput, match=f"Row 7, column '{column}', contains the control token"):
            check_row(row, "Row 7", tokens)
        tried(1)


def test_a_token_that_is_not_special_is_refused_with_its_row(
    tmp_path: Path, snapshot: Path
) -> None:
    rows = [product() for _ in range(12)]
    rows[10]["description"] = "A <|placeholder|> doll."
    write(tmp_path / "data" / "a.jsonl", *rows)
    assert refusal(tmp_path / "data", snapshot).startswith(f"Row 11 of {tmp_path / 'data'}, column")


@pytest.mark.slow
def test_random_texts_have_no_control_ids(processor: Any, tried: Any) -> None:
    """What passes the intake gives no id of an added token, whatever it looks like."""
    tokens = added_tokens(STAND_IN)
    added = set(processor.tokenizer.get_added_vocab().values())
    dice = random.Random(17)
    pieces = [*tokens, "<|", "|>", "im_", "end", "<", ">", " ", "\n", "ü", "\u0301", "\0", "a", "é"]
    pieces += [token[:-1] for token in tokens] + [token[1:] for token in tokens]
    passed = 0
    tried(count(500, 5000))
    for _ in range(count(500, 5000)):
        text = "".join(dice.choices(pieces, k=dice.randrange(1, 12)))
        try:
            check_row(product(description=text), "Row 1", tokens)
        except BadInput:
            continue
        passed += 1
        assert not added & set(processor.tokenizer.encode(text, add_special_tokens=False)), text
    assert passed > 20


def test_an_added_token_in_any_text_is_refused(snapshot: Path, tried: Any) -> None:
    """500 random texts, with every added token at a random place of each."""
    tokens = added_tokens(snapshot)
    dice = random.Random(29)
    alphabet = "abc ÄéΩ한😀<|>im_\n\t.,0123456789\u0301\u200b"
    for _ in range(count(50, 500)):
        text = "".join(dice.choices(alphabet, k=dice.randrange(40)))
        for token in tokens:
            place = dice.randrange(len(text) + 1)
            row = product(description=text[:place] + token + text[place:])
            with pytest.raises(BadInput, match="Row 3, column 'description', contains the control"):
                check_row(row, "Row 3", tokens)
            tried(1)


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_half_a_surrogate_pair_is_refused_with_its_row(tmp_path: Path, column: str) -> None:
    write(tmp_path / "a.jsonl", product(), product(), product(**{column: "a \ud83d doll"}))
    assert refusal(tmp_path).startswith(f"Row 3 of {tmp_path}, column {column!r}, holds half")


LINES = [
    ("[" * 100_000, "is no JSON"),
    ('{"a": ' * 100_000, "is no JSON"),
    ('{"image": ' + "9" * 10_000 + "}", "is no JSON"),
    ("[1, 2]", "is no object"),
    ("nonsense", "is no JSON"),
]


@pytest.mark.parametrize(("line", "reason"), LINES, ids=["[", "{", "digits", "list", "word"])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "a.jsonl", product(), line)
    assert f"Line 2 of {path} {reason}" in refusal(tmp_path)


def test_a_line_without_an_end_is_refused_at_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.tables.MAX_LINE", 1000)
    write(tmp_path / "a.jsonl", product(), "x" * 1001)
    assert "Line 2 of" in refusal(tmp_path)
    assert MAX_LINE > 64 * 1024 * 1024 * 4 // 3


def test_one_row_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", product())
    assert "holds one row" in refusal(tmp_path)


def parquet(path: Path, rows: list[dict[str, Any]], bad: bool = False) -> Path:
    import pyarrow
    from pyarrow.parquet import write_table

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    if bad:
        texts = pyarrow.array([b"a doll", b"\xff\xfe doll"], pyarrow.binary()).cast(
            pyarrow.string(), safe=False
        )
        table = table.set_column(table.column_names.index("description"), "description", texts)
    write_table(table, str(path))
    return path


def test_bytes_that_are_no_text_in_arrow_are_named(tmp_path: Path) -> None:
    rows = [product(image={"bytes": png()}), product(image={"bytes": png()})]
    path = parquet(tmp_path / "a.parquet", rows, bad=True)
    assert f"Row 2 of {path} is no UTF-8 text" in refusal(tmp_path)


def test_a_parquet_file_that_unpacks_to_too_much_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [product(image={"bytes": png()}, description="a" * 200_000)] * 20
    path = parquet(tmp_path / "a.parquet", rows)
    limit = path.stat().st_size * 2
    monkeypatch.setattr("harness.data.arrows.MAX_BYTES", limit)
    assert "unpacks to" in refusal(tmp_path)


# Splits


@pytest.mark.parametrize(
    ("test", "train"),
    [
        ("test-00000-of-00001.jsonl", "train-00000-of-00001.jsonl"),
        ("data/test.jsonl", "data/train.jsonl"),
        ("test/a.jsonl", "train/a.jsonl"),
        ("validation-0.jsonl", "train_0.jsonl"),
        ("a-eval.jsonl", "b-training.jsonl"),
    ],
)
def test_test_rows_are_never_trained_on(tmp_path: Path, test: str, train: str) -> None:
    write(tmp_path / test, *[product(description=f"test {i}") for i in range(30)])
    write(tmp_path / train, *[product(description=f"train {i}") for i in range(30)])
    texts = {
        split: [row["description"] for row in load_rows(str(tmp_path), split)]
        for split in ("train", "heldout")
    }
    assert texts["train"] == [f"train {i}" for i in range(30)]
    assert texts["heldout"] == [f"test {i}" for i in range(30)]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["test-0.jsonl"], "only held-out rows"),
        (["train-0.jsonl", "more.jsonl"], "names no split"),
        (["train-test.jsonl"], "names two splits"),
        (["train-0.jsonl", "test-0.parquet"], "both"),
    ],
)
def test_names_that_do_not_say_what_is_trained_on_are_refused(
    tmp_path: Path, names: list[str], sentence: str
) -> None:
    for name in names:
        write(tmp_path / name, product(), product())
    assert sentence in refusal(tmp_path)


def test_only_training_rows_hold_out_their_last_tenth(tmp_path: Path) -> None:
    write(tmp_path / "train-0.jsonl", *[product(description=f"{i}") for i in range(20)])
    assert len(load_rows(str(tmp_path), "train")) == 18
    assert len(load_rows(str(tmp_path), "heldout")) == 2
    write(tmp_path / "train-0.jsonl", product(), product())
    write(tmp_path / "contest.jsonl", product())  # `test` inside a word is no split
    assert "names no split" in refusal(tmp_path)


# Files that must not be read


def test_rows_are_not_held_decoded(tmp_path: Path) -> None:
    """Forty pictures of 3 MB each, in 120 MB decoded: the rows and one walk take a few."""
    image = {"bytes": base64.b64encode(png((1000, 1000))).decode()}
    write(tmp_path / "a.jsonl", *[product(image=image) for _ in range(40)])
    rows: list[Any] = []

    def walk() -> None:
        rows.append(load_rows(str(tmp_path), "train"))
        for row in rows[0]:
            assert row["image"].size == (1000, 1000)

    took = cost(walk)
    assert took.megabytes < 40
    assert rows[0][-1]["id"] == "row-00035"
    assert len(rows[0][2:4]) == 2


def test_pictures_of_one_row_are_bounded_in_sum(tmp_path: Path) -> None:
    """Files of a few kilobytes, 144 MB decoded each: five in one conversation are refused by their
    headers, three are not."""
    image = {"bytes": base64.b64encode(png((6000, 6000))).decode()}

    def conversation(pictures: int) -> dict[str, Any]:
        parts = [{"type": "image"}] * pictures
        asked = {"role": "user", "content": [*parts, {"type": "text", "text": "Which?"}]}
        answer = {"role": "assistant", "content": "The first."}
        return {"messages": [asked, answer], "images": [image] * pictures}

    write(tmp_path / "a.jsonl", *[conversation(n) for n in (1, 1, 3)])
    assert check_data(Data(str(tmp_path)), STAND_IN)
    write(tmp_path / "a.jsonl", *[conversation(n) for n in (1, 1, 5)])
    refusals: list[str] = []
    took = cost(lambda: refusals.append(refusal(tmp_path)))
    assert "Row 3" in refusals[0]
    assert "5 pictures" in refusals[0]
    assert "720 MB" in refusals[0]
    assert took.megabytes < 50
    assert took.seconds < 5
