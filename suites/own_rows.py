"""Products of one's own, their pictures, and files that hold them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from harness.data.dataset import load_rows

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
