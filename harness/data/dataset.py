"""Rows of a data source, checked: the four columns of the recipe with a picture we decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from harness.data.catalogue import Product, Split, products, row
from harness.data.pictures import decode, opened
from harness.data.sources import DataFile, data_files
from harness.data.tables import read_rows
from harness.errors import BadInput
from harness.records.files import text_digest
from harness.records.folders import path_of

TEXT_COLUMNS = ("Product Name", "Category", "description")
COLUMNS = ("image", *TEXT_COLUMNS)
# The catalogue with square pictures of that side in pixels: longer samples.
SQUARE = re.compile(r"^catalogue@(?P<side>\d{2,4})$")
HUB = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})$")
# The last tenth of a source without a split of its own is held out, in file order.
HELD_OUT_SHARE = 10


@dataclass(frozen=True)
class _Raw:
    """One row as its file has it. number: its place in the whole source, from 1."""

    number: int
    columns: Mapping[str, Any]


class Rows(Sequence[dict[str, Any]]):
    """Checked rows; each one's picture is decoded when the row is asked for, and not kept.

    Decoded, a source of a thousand photographs would take tens of gigabytes.
    """

    def __init__(self, data: str, raw: Sequence[_Raw], *, allow_paths: bool) -> None:
        self._data, self._raw, self._allow_paths = data, raw, allow_paths

    def __len__(self) -> int:
        return len(self._raw)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Rows:
        if isinstance(index, slice):
            return Rows(self._data, self._raw[index], allow_paths=self._allow_paths)
        raw = self._raw[index]
        where = _picture_of(self._data, raw)
        picture = decode(raw.columns["image"], where, allow_paths=self._allow_paths)
        texts = {column: raw.columns[column] for column in TEXT_COLUMNS}
        return {"image": picture, **texts, "id": f"row-{raw.number - 1:05d}"}


def _picture_of(data: str, raw: _Raw) -> str:
    return f"Row {raw.number} of {data}, column 'image',"


def check_row(raw: Mapping[str, Any], where: str, tokens: Iterable[str] = ()) -> None:
    """Refuse a row whose texts cannot be used. Raises BadInput naming row and column.

    tokens: added to the vocabulary of the model that is trained. Inside a product's text they
    would end a turn early or claim a picture that is not there, and train silently on a wrong
    conversation.
    """
    missing = [column for column in COLUMNS if column not in raw]
    if missing:
        raise BadInput(
            f"{where} lacks the column {missing[0]!r}; the recipe needs {', '.join(COLUMNS)}."
        )
    for column in TEXT_COLUMNS:
        text = raw[column]
        if not isinstance(text, str):
            raise BadInput(f"{where} holds no text in {column!r}; give a string.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadInput(
                f"{where}, column {column!r}, holds half a surrogate pair "
                f"(\\u{ord(text[error.start]):04x}); save the text as UTF-8."
            ) from error
        token = next((token for token in tokens if token in text), None)
        if token is not None:
            raise BadInput(
                f"{where}, column {column!r}, contains the control token {token}; "
                "remove it from the product data."
            )
    if not raw["description"].strip():
        raise BadInput(f"{where} has an empty description; remove the row or fill it.")


def load_rows(
    data: str,
    split: Split,
    *,
    limit: int | None = None,
    allow_paths: bool = False,
    tokens: Iterable[str] = (),
) -> Sequence[dict[str, Any]]:
    """The rows of `catalogue`, `catalogue@<side in pixels>`, a directory (*.jsonl, *.parquet) or
    `org/name@<40 hex>`.

    Each row has `image` (PIL RGB), `Product Name`, `Category`, `description`, and `id`.
    Pictures in files are embedded bytes (base64 text in JSONL); URLs are always refused, paths
    unless allow_paths. Texts and the pictures' headers are checked here, what is inside a picture
    when its row is asked for. A file called train-… is trained on and every other split held out;
    without such names the last tenth is. tokens: as of check_row. Raises BadInput in one sentence
    for everything that cannot be used.
    """
    if data == "catalogue":
        chosen: Sequence[Product] = products(split)[:limit]
        return [{**row(product), "id": product.id} for product in chosen]
    square = SQUARE.match(data)
    if square:
        size = (int(square["side"]),) * 2
        rows_of_any_size = load_rows("catalogue", split, limit=limit)
        return [{**each, "image": each["image"].resize(size)} for each in rows_of_any_size]
    files = data_files(_hub(data) if HUB.match(data) else path_of(data))
    rows = _part(data, files, split)[:limit]
    tokens = tuple(tokens)
    for raw in rows:
        check_row(raw.columns, f"Row {raw.number} of {data}", tokens)
        opened(raw.columns["image"], _picture_of(data, raw), allow_paths=allow_paths)
    return Rows(data, rows, allow_paths=allow_paths)


def _part(data: str, files: Sequence[DataFile], split: Split) -> list[_Raw]:
    """The raw rows of a split. Raises BadInput where training or held-out data would be empty."""
    rows: list[_Raw] = []
    splits: list[Split | None] = []
    for file in files:
        for columns in read_rows(file.path, COLUMNS):
            rows.append(_Raw(len(rows) + 1, columns))
            splits.append(file.split)
    if not rows:
        raise BadInput(f"{data} holds no rows; give data with at least two products.")
    if "train" not in splits and splits[0] is not None:
        raise BadInput(
            f"{data} holds only held-out rows ({files[0].path.name}); add a file called train-…."
        )
    if "heldout" in splits:
        return [raw for raw, of in zip(rows, splits, strict=True) if of == split]
    if len(rows) < 2:
        raise BadInput(f"{data} holds one row; one to train on and one held out are the least.")
    cut = len(rows) - max(1, len(rows) // HELD_OUT_SHARE)
    return rows[:cut] if split == "train" else rows[cut:]


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Digest over texts and pixels, to identify what was trained on."""
    return text_digest(
        "".join(
            text_digest("\0".join(r[c] for c in TEXT_COLUMNS)) + text_digest(r["image"].tobytes())
            for r in rows
        )
    )


def _hub(data: str) -> Path:
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
    return Path(folder)
