"""Data as people keep it: every format, splits by their names, columns by theirs, files beside."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.dataset import load_rows
from harness.data.intake import Data, check_data
from harness.data.samples import gradient
from harness.errors import BadInput
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import generation_messages, training_messages

SIZE = (56, 84)


def png(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (shade, 40, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def colour(picture: Any) -> int:
    return int(picture.getpixel((3, 3))[0])


def product(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "image": {"bytes": png(number), "path": None},
        "Product Name": f"Doll {number}",
        "Category": "Toys",
        "description": f"text {number}",
    }
    return {**row, **changes}


def in_json(row: dict[str, Any]) -> dict[str, Any]:
    """The same row with its picture as base64."""
    encoded = row["image"]["bytes"]
    return {**row, "image": {"bytes": base64.b64encode(encoded).decode()}}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    from pyarrow import Table
    from pyarrow.parquet import write_table

    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(Table.from_pylist(rows), str(path))


def descriptions(data: Path, **asked: Any) -> tuple[list[str], list[str]]:
    """What is trained on, and what is held out."""
    return tuple(  # type: ignore[return-value]
        [row["description"] for row in load_rows(str(data), part, **asked)]
        for part in ("train", "heldout")
    )


ROWS = [product(number) for number in range(4)]
TRAIN, TEST = ["text 0", "text 1"], ["text 2", "text 3"]


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


def conversation(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "text": None},
                    {"type": "text", "text": f"What is {number}?"},
                    {"type": "image", "text": None},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": f"It is {number}."}]},
        ],
        "images": [{"bytes": png(number)}, {"bytes": png(100 + number)}],
    }


def test_conversations_with_their_pictures_in_their_places(tmp_path: Path) -> None:
    parquet(tmp_path / "rows.parquet", [conversation(number) for number in range(3)])
    row = load_rows(str(tmp_path), "train")[1]
    user, answer = training_messages(row)
    assert [part["type"] for part in user["content"]] == ["image", "text", "image"]
    shown = [part["image"] for part in user["content"] if part["type"] == "image"]
    assert [colour(picture) for picture in shown] == [1, 101]
    assert answer["content"] == [{"type": "text", "text": "It is 1."}]
    assert generation_messages(row) == training_messages(row)[:-1]
    assert row["description"] == "It is 1."


def test_plain_conversations_take_their_pictures_before_the_first_question(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"What is {number}?"},
                {"role": "assistant", "content": f"It is {number}."},
            ],
            "images": [{"bytes": base64.b64encode(png(number)).decode()}],
        }
        for number in range(2)
    ]
    jsonl(tmp_path / "rows.jsonl", rows)
    messages = training_messages(load_rows(str(tmp_path), "train")[0])
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant"]
    assert [part["type"] for part in messages[1]["content"]] == ["image", "text"]


@pytest.mark.parametrize("conversational", [False, True])
def test_prompt_and_completion(tmp_path: Path, conversational: bool) -> None:
    def turn(role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if conversational else text

    rows = [
        {
            "prompt": turn("user", "What?"),
            "completion": turn("assistant", f"It is {number}."),
            "image": f"{number}.png",
        }
        for number in range(2)
    ]
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    jsonl(tmp_path / "rows.jsonl", rows)
    user, answer = training_messages(load_rows(str(tmp_path), "train")[0])
    assert [part["type"] for part in user["content"]] == ["image", "text"]
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": "It is 0."}]}


def changed(**changes: Any) -> dict[str, Any]:
    row = conversation(1)
    row["images"] = [{"bytes": base64.b64encode(each["bytes"]).decode()} for each in row["images"]]
    return {**row, **changes}


def turns(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in pairs]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (changed(images=changed()["images"][:1]), "holds 1 pictures in 'images' .* places for 2"),
        (changed(messages=[]), "holds no list of messages in 'messages'"),
        (changed(messages=turns(("user", "x"))), "ends with a turn of the user"),
        (changed(messages=turns(("tool", "x"))), "has the role 'tool'"),
        (changed(messages=["hello"]), "is no object with `role` and `content`"),
        (changed(messages=turns(("user", 3))), "holds neither a text nor a list of parts"),
        (changed(messages=turns(("user", [{"type": "video"}]))), "neither a text nor an image"),
        (changed(messages=turns(("assistant", "x"))), "has no turn of the user for its pictures"),
        (changed(messages=turns(("user", "x"), ("assistant", " "))), "ends with an empty answer"),
        (
            changed(messages=turns(("user", "<|image_pad|>"), ("assistant", "x"))),
            "message 1, contains the control token <|image_pad|>",
        ),
        (changed(messages=turns(("user", "x"), ("assistant", "y")), images=[]), "no picture"),
    ],
)
def test_a_conversation_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    jsonl(tmp_path / "rows.jsonl", [row, changed()])
    with pytest.raises(BadInput, match=sentence.replace("|", r"\|")) as caught:
        load_rows(str(tmp_path), "train", tokens=("<|image_pad|>",))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("Row 1 of ")


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
