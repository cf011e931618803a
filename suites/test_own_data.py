"""Data as people keep it: every format, splits by their names, columns by theirs, files beside."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.dataset import load_rows
from harness.data.intake import Data, check_data
from harness.errors import BadInput
from harness.measuring.snapshots.source import STAND_IN
from suites.own_rows import (
    ROWS,
    SIZE,
    TEST,
    TRAIN,
    colour,
    descriptions,
    in_json,
    jsonl,
    parquet,
    product,
)


def test_numbered_parts_are_kept_apart_by_the_split_in_their_names(tmp_path: Path) -> None:
    """`test-00000…` sorts before `train-00000…`, and its rows must not be trained on."""
    parquet(tmp_path / "data" / "train-00000-of-00002.parquet", ROWS[:1])
    parquet(tmp_path / "data" / "train-00001-of-00002.parquet", ROWS[1:2])
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", ROWS[2:])
    assert descriptions(tmp_path) == (TRAIN, TEST)


def test_files_called_by_their_split(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", [in_json(row) for row in ROWS[:2]])
    jsonl(tmp_path / "test.jsonl", [in_json(row) for row in ROWS[2:]])
    assert descriptions(tmp_path) == (TRAIN, TEST)


def test_folders_called_by_their_split(tmp_path: Path) -> None:
    jsonl(tmp_path / "train" / "data.jsonl", [in_json(row) for row in ROWS[:2]])
    jsonl(tmp_path / "test" / "data.jsonl", [in_json(row) for row in ROWS[2:3]])
    jsonl(tmp_path / "validation" / "data.jsonl", [in_json(row) for row in ROWS[3:]])
    assert descriptions(tmp_path) == (TRAIN, TEST)
    assert descriptions(tmp_path, splits=("train", "validation")) == (TRAIN, ["text 3"])
    assert descriptions(tmp_path, splits=("train",)) == (["text 0"], ["text 1"])
    with pytest.raises(BadInput, match="has no split 'dev2'; its files are called data"):
        descriptions(tmp_path, splits=("dev2",))
    with pytest.raises(BadInput, match="would be trained on and held out"):
        descriptions(tmp_path, splits=("train", "train"))


def test_a_split_is_called_by_its_whole_name_first(tmp_path: Path) -> None:
    """As the hub's `train_sft`, `train_gen`, `test_sft`."""
    names = ("train_sft", "train_gen", "test_sft")
    for name, row in zip(names, ROWS, strict=False):
        jsonl(tmp_path / f"{name}-00000-of-00001.jsonl", [in_json(row)])
    asked = descriptions(tmp_path, splits=("train_sft", "test_sft"))
    assert asked == (["text 0"], ["text 2"])


def write_json(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps([in_json(row) for row in ROWS]))


def write_json_lines_called_json(folder: Path) -> None:
    jsonl(folder / "rows.json", [in_json(row) for row in ROWS])


def write_csv(folder: Path) -> None:
    (folder / "pictures").mkdir()
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["image", "Product Name", "Category", "description"])
        writer.writeheader()
        for number, row in enumerate(ROWS):
            (folder / "pictures" / f"{number}.png").write_bytes(row["image"]["bytes"])
            writer.writerow({**row, "image": f"pictures/{number}.png"})


def write_parquet_of_structs(folder: Path) -> None:
    parquet(folder / "rows.parquet", ROWS)


def write_parquet_of_bytes(folder: Path) -> None:
    parquet(folder / "rows.parquet", [{**row, "image": row["image"]["bytes"]} for row in ROWS])


def write_save_to_disk(folder: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as Pictures

    features = Features(
        {name: Value("string") for name in ("Product Name", "Category", "description")}
        | {"image": Pictures()}
    )
    dataset = Dataset.from_list(ROWS, features=features)
    dataset.save_to_disk(str(folder / "saved"), num_shards=2)


def write_image_folder(folder: Path) -> None:
    for number, row in enumerate(ROWS):
        (folder / f"{number}.png").write_bytes(row["image"]["bytes"])
    rows = [
        {**{k: v for k, v in row.items() if k != "image"}, "file_name": f"{number}.png"}
        for number, row in enumerate(ROWS)
    ]
    jsonl(folder / "metadata.jsonl", rows)


def write_image_folder_csv(folder: Path) -> None:
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "Product Name", "Category", "description"])
        for number, row in enumerate(ROWS):
            (folder / f"{number}.png").write_bytes(row["image"]["bytes"])
            writer.writerow([f"{number}.png", row["Product Name"], "Toys", row["description"]])


WRITERS: list[Callable[[Path], None]] = [
    write_json,
    write_json_lines_called_json,
    write_csv,
    write_parquet_of_structs,
    write_parquet_of_bytes,
    write_save_to_disk,
    write_image_folder,
    write_image_folder_csv,
]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    rows = [*load_rows(str(tmp_path), "train"), *load_rows(str(tmp_path), "heldout")]
    assert [row["description"] for row in rows] == [*TRAIN, *TEST]
    assert [colour(row["image"]) for row in rows] == [0, 1, 2, 3]
    assert all(row["image"].size == SIZE and row["Category"] == "Toys" for row in rows)


def test_every_format_has_the_same_digest(tmp_path: Path) -> None:
    """The digest is of the content, not of the container."""
    seen = set()
    for number, write in enumerate(WRITERS):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder)
        seen.add(check_data(Data(str(folder)), STAND_IN))
    assert len(seen) == 1
    jsonl(tmp_path / "other" / "rows.jsonl", [in_json(row) for row in [*ROWS[:3], product(9)]])
    assert check_data(Data(str(tmp_path / "other")), STAND_IN) not in seen


def test_a_saved_dataset_with_splits(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    bare = [{**row, "image": row["image"]["bytes"]} for row in ROWS]
    parts = {"train": Dataset.from_list(bare[:2]), "test": Dataset.from_list(bare[2:])}
    DatasetDict(parts).save_to_disk(str(tmp_path))
    assert descriptions(tmp_path) == (TRAIN, TEST)


def test_columns_by_the_users_names(tmp_path: Path) -> None:
    rows = [
        {"picture": row["image"], "text": row["description"], "title": row["Product Name"]}
        for row in ROWS
    ]
    parquet(tmp_path / "rows.parquet", rows)
    columns = {"description": "text", "image": "picture", "product_name": "title", "Category": ""}
    first = load_rows(str(tmp_path), "train", columns=columns)[0]
    assert (first["description"], first["Product Name"], first["Category"]) == (
        "text 0",
        "Doll 0",
        "",
    )
    with pytest.raises(BadInput) as caught:
        load_rows(str(tmp_path), "train", columns={**columns, "description": "words"})
    assert "lacks the column 'words'; it has picture, text, title" in str(caught.value)
    with pytest.raises(BadInput, match="There is no column 'caption' to be named"):
        load_rows(str(tmp_path), "train", columns={"caption": "text"})
