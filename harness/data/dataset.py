"""Rows of a data source, checked: the four columns of the recipe with a picture we decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.catalogue import Product, Split, products, row
from harness.data.pictures import decode
from harness.errors import BadInput
from harness.records.files import text_digest
from harness.records.folders import path_of

TEXT_COLUMNS = ("Product Name", "Category", "description")
COLUMNS = ("image", *TEXT_COLUMNS)
HUB = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})$")
# The last tenth of a source without a split of its own is held out, in file order.
HELD_OUT_SHARE = 10


def check_row(raw: Mapping[str, Any], where: str, *, allow_paths: bool = False) -> dict[str, Any]:
    """One row with its picture decoded. Raises BadInput naming row and column."""
    missing = [column for column in COLUMNS if column not in raw]
    if missing:
        raise BadInput(
            f"{where} lacks the column {missing[0]!r}; the recipe needs {', '.join(COLUMNS)}."
        )
    for column in TEXT_COLUMNS:
        if not isinstance(raw[column], str):
            raise BadInput(f"{where} holds no text in {column!r}; give a string.")
    if not raw["description"].strip():
        raise BadInput(f"{where} has an empty description; remove the row or fill it.")
    picture = decode(raw["image"], f"{where}, column 'image',", allow_paths=allow_paths)
    return {"image": picture, **{column: raw[column] for column in TEXT_COLUMNS}}


def load_rows(
    data: str, split: Split, *, limit: int | None = None, allow_paths: bool = False
) -> list[dict[str, Any]]:
    """The rows of `catalogue`, a directory (*.jsonl, *.parquet) or `org/name@<40 hex>`.

    Each row has `image` (PIL RGB), `Product Name`, `Category`, `description`, and `id`.
    Pictures in files are embedded bytes (base64 text in JSONL); URLs are always refused, paths
    unless allow_paths. Raises BadInput in one sentence for everything that cannot be used.
    """
    if data == "catalogue":
        chosen: Sequence[Product] = products(split)[:limit]
        return [{**row(product), "id": product.id} for product in chosen]
    rows = _hub(data) if HUB.match(data) else _directory(path_of(data))
    if not rows:
        raise BadInput(f"{data} holds no rows; give data with at least one product.")
    cut = len(rows) - max(1, len(rows) // HELD_OUT_SHARE)
    part = list(enumerate(rows))[:cut] if split == "train" else list(enumerate(rows))[cut:]
    return [
        {**check_row(raw, f"Row {i + 1} of {data}", allow_paths=allow_paths), "id": f"row-{i:05d}"}
        for i, raw in part[:limit]
    ]


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Digest over texts and pixels, to identify what was trained on."""
    return text_digest(
        "".join(
            text_digest("\0".join(r[c] for c in TEXT_COLUMNS)) + text_digest(r["image"].tobytes())
            for r in rows
        )
    )


def _directory(folder: Path) -> list[dict[str, Any]]:
    if not folder.is_dir():
        raise BadInput(
            f"There is no data {folder}; give catalogue, a folder, or org/name@<40 hex digits>."
        )
    lines = sorted(folder.glob("**/*.jsonl"))
    if lines:
        return [item for path in lines for item in _jsonl(path)]
    tables = sorted(folder.glob("**/*.parquet"))
    if not tables:
        raise BadInput(f"{folder} holds neither *.jsonl nor *.parquet; put the dataset there.")
    return _parquet(tables)


def _jsonl(path: Path) -> list[dict[str, Any]]:
    import base64
    import json

    rows = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text ({error}); save it as UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"Line {number} of {path} is no JSON ({error}); mend it.") from error
        if not isinstance(raw, dict):
            raise BadInput(f"Line {number} of {path} is no object; give one product a line.")
        picture = raw.get("image")
        if isinstance(picture, dict) and isinstance(picture.get("bytes"), str):
            try:
                raw["image"] = {"bytes": base64.b64decode(picture["bytes"], validate=True)}
            except ValueError as error:
                raise BadInput(f"Line {number} of {path}: the picture is no base64.") from error
        rows.append(raw)
    return rows


def _parquet(tables: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows with raw bytes; the datasets image feature never decodes (or fetches) anything."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    rows: list[dict[str, Any]] = []
    for path in tables:
        try:
            rows += read_table(str(path)).to_pylist()
        except (ArrowException, OSError) as error:
            raise BadInput(f"{path} is no readable parquet ({error}); fetch it again.") from error
    return rows


def _hub(data: str) -> list[dict[str, Any]]:
    """The dataset's parquet files at that revision, through huggingface_hub's own cache."""
    from huggingface_hub import snapshot_download

    match = HUB.match(data)
    assert match is not None  # load_rows only comes here on a match
    try:
        folder = snapshot_download(
            match["id"],
            repo_type="dataset",
            revision=match["revision"],
            allow_patterns=["*.parquet", "**/*.parquet"],
        )
    except Exception as error:
        raise BadInput(
            f"{data} could not be fetched ({type(error).__name__}); check id, revision and network."
        ) from error
    return _directory(Path(folder))
