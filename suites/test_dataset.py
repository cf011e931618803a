"""Data sources: what is refused, in one sentence, and what is read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import load_rows, rows_digest
from harness.data.samples import gradient
from harness.errors import BadInput


def picture_bytes() -> bytes:
    buffer = io.BytesIO()
    gradient(40, 30).save(buffer, "PNG")
    return buffer.getvalue()


def product(**changes: Any) -> dict[str, Any]:
    row = {
        "image": {"bytes": base64.b64encode(picture_bytes()).decode()},
        "Product Name": "Doll",
        "Category": "Toys",
        "description": "A doll. #Doll",
    }
    return {**row, **changes}


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8")
    return str(folder)


def test_jsonl_with_embedded_pictures(tmp_path: Path) -> None:
    data = write(tmp_path, [product(description=f"text {i}") for i in range(20)])
    train, heldout = load_rows(data, "train"), load_rows(data, "heldout")
    assert [r["description"] for r in train] == [f"text {i}" for i in range(18)]
    assert [r["description"] for r in heldout] == ["text 18", "text 19"]
    assert train[0]["image"].mode == "RGB"
    assert train[0]["image"].size == (40, 30)


def test_parquet_is_read_without_decoding_by_the_library(tmp_path: Path) -> None:
    from pyarrow import Table
    from pyarrow.parquet import write_table

    row = product(image={"bytes": picture_bytes(), "path": None})
    write_table(Table.from_pylist([row] * 3), str(tmp_path / "part.parquet"))
    rows = load_rows(str(tmp_path), "train")
    assert rows[0]["image"].tobytes() == gradient(40, 30).tobytes()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({k: v for k, v in product().items() if k != "Category"}, "lacks the column 'Category'"),
        (product(description="  \n"), "empty description"),
        (product(description=None), "holds no text in 'description'"),
        (product(image="https://example.invalid/x.png"), "URL"),
        (product(image="/etc/hostname"), "path"),
        (product(image={"bytes": base64.b64encode(b"no picture").decode()}), "no readable picture"),
        (product(image={"bytes": "not base64!"}), "base64"),
        (product(image=None), "missing"),
    ],
)
def test_unusable_rows_are_refused_in_one_sentence(
    tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    data = write(tmp_path, [row, product()])
    with pytest.raises(BadInput, match=sentence) as caught:
        load_rows(data, "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "org/name", "org/name@main"])
def test_unknown_sources_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="no data"):
        load_rows(name, "train")


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither"):
        load_rows(str(tmp_path), "train")
    (tmp_path / "data.jsonl").write_text("{not json\n", encoding="utf-8")
    with pytest.raises(BadInput, match="no JSON"):
        load_rows(str(tmp_path), "train")
    (tmp_path / "data.jsonl").unlink()
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match="parquet"):
        load_rows(str(tmp_path), "train")


def test_the_digest_sees_text_and_pixels(tmp_path: Path) -> None:
    rows = load_rows("catalogue", "train", limit=2)
    first = rows_digest(rows)
    assert first == rows_digest(load_rows("catalogue", "train", limit=2))
    assert first != rows_digest([{**rows[0], "Category": "x"}, rows[1]])
    assert first != rows_digest([{**rows[0], "image": gradient(30, 30)}, rows[1]])
