"""Where a row's files may lie, what counts in the digest, and what is no data."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.dataset import load_rows
from harness.data.intake import Data, check_data
from harness.data.samples import gradient
from harness.errors import BadInput
from harness.measuring.snapshots.source import STAND_IN
from suites.own_rows import (
    ROWS,
    TRAIN,
    colour,
    descriptions,
    in_json,
    jsonl,
    png,
    product,
)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("../secret.png", "leads outside the data's folder"),
        ("/etc/hostname", "leads outside the data's folder"),
        ("link.png", "leads outside the data's folder"),
        ("folder/../../secret.png", "leads outside the data's folder"),
        ("absent.png", "has no such file"),
        ("https://example.invalid/a.png", "is a URL"),
        ("file:///etc/hostname", "is a URL"),
        ("s3://bucket/a.png", "is a URL"),
        ("a\0b.png", "cannot be read"),
        ("loop.png", "cannot be read|has no such file"),
        (".", "is no regular file|no picture's bytes"),
    ],
)
def test_paths_lead_nowhere_else(tmp_path: Path, path: str, sentence: str) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    jsonl(folder / "rows.jsonl", [product(0, image=path), in_json(product(1))])
    with pytest.raises(BadInput, match=sentence) as caught:
        load_rows(str(folder), "train")
    assert "\n" not in str(caught.value)


def test_a_link_within_the_folder_and_a_whole_path_into_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(png(7))
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    rows = [product(0, image="link.png"), product(1, image=str(tmp_path / "real.png"))]
    jsonl(tmp_path / "rows.jsonl", [*rows, in_json(product(2))])
    shown = [colour(row["image"]) for row in load_rows(str(tmp_path), "train")]
    assert shown == [7, 7]


def test_a_picture_in_another_file_counts_in_the_digest(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [product(n, image=f"{n}.png") for n in range(2)])
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    before = check_data(Data(str(tmp_path)), STAND_IN)
    (tmp_path / "1.png").write_bytes(png(99))
    assert check_data(Data(str(tmp_path)), STAND_IN) != before


def test_one_file_may_be_named(tmp_path: Path) -> None:
    jsonl(tmp_path / "mine.jsonl", [in_json(row) for row in ROWS])
    (tmp_path / "else.csv").write_text("a\n1\n")
    assert descriptions(tmp_path / "mine.jsonl") == ([*TRAIN, "text 2"], ["text 3"])
    with pytest.raises(BadInput, match=r"both \*\.jsonl and \*\.csv"):
        descriptions(tmp_path)
    (tmp_path / "notes.md").write_text("#")
    with pytest.raises(BadInput, match=r"notes\.md is none of \*\.jsonl"):
        descriptions(tmp_path / "notes.md")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.json", '{"rows": 1}\n{"rows": 2}', "lacks the column"),
        ("a.json", "3", "holds no list of rows"),
        ("a.json", "[1, 2]", "Row 1 of .* is no object"),
        ("a.csv", "image,description\na,b,c\n", "Row 1 of .* has more values than"),
        ("a.csv", 'image\n"x\n', "is no CSV"),
        (
            "a.csv",
            "image,description\na.png,hello\nb.png,hello\n",
            "lacks the column 'Product Name'",
        ),
        ("a.arrow", "nothing", "is no readable Arrow stream"),
    ],
)
def test_broken_files_are_refused_in_one_sentence(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=sentence) as caught:
        load_rows(str(tmp_path), "train")
    assert "\n" not in str(caught.value)


def test_what_libraries_leave_beside_rows_is_no_data(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [in_json(row) for row in ROWS])
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "old.parquet").write_bytes(b"")
    assert descriptions(tmp_path) == ([*TRAIN, "text 2"], ["text 3"])


def test_the_gradient_survives_a_file_beside_the_data(tmp_path: Path) -> None:
    gradient(40, 30).save(tmp_path / "a.png")
    jsonl(tmp_path / "rows.jsonl", [product(n, image={"path": "a.png"}) for n in range(2)])
    assert load_rows(str(tmp_path), "train")[0]["image"].tobytes() == gradient(40, 30).tobytes()


def test_of_several_files_the_one_is_named_that_holds_the_row(tmp_path: Path) -> None:
    jsonl(tmp_path / "test.jsonl", [in_json(row) for row in ROWS])
    jsonl(tmp_path / "train.jsonl", [in_json(product(0)), in_json(product(1, description=" "))])
    with pytest.raises(BadInput) as caught:
        load_rows(str(tmp_path), "train")
    assert str(caught.value).startswith(f"Row 2 of {tmp_path / 'train.jsonl'} has an empty")
