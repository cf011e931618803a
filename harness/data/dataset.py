"""Rows of a data source, checked: products of the recipe, or conversations of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, overload

from harness.data.catalogue import Product, Split, products, row
from harness.data.pictures import check_sum, decode, encoded, opened
from harness.data.shapes import COLUMNS, TEXT_COLUMNS, Shaped, Shaper, canonical, wanted
from harness.data.sources import DataFile, data_files
from harness.data.tables import Line, read_rows
from harness.errors import BadInput
from harness.records.files import json_digest, text_digest
from harness.records.folders import path_of

# The catalogue with square pictures of that side in pixels: longer samples.
SQUARE = re.compile(r"^catalogue@(?P<side>\d{2,4})$")
HUB = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})$")
# The last tenth of a source without a split of its own is held out, in file order.
HELD_OUT_SHARE = 10
# Of a hub's dataset nothing else is downloaded: rows, and the pictures beside them.
DOWNLOADED = (
    *("jsonl", "json", "csv", "parquet", "arrow"),
    *("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"),
)


class Chosen(Protocol):
    """What says which data: a run's context, a training's spec.

    columns: the source's names by the recipe's. splits: what to train on, and what is held out.
    """

    @property
    def data(self) -> str:
        """The source."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Its column of each of the recipe's names."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Its splits."""


class Rows(Sequence[dict[str, Any]]):
    """Checked rows; each one's pictures are decoded when the row is asked for, and not kept.

    Decoded, a source of a thousand photographs would take tens of gigabytes.
    """

    def __init__(self, shaped: Sequence[tuple[int, Shaped]]) -> None:
        self._shaped = shaped

    def __len__(self) -> int:
        return len(self._shaped)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Rows:
        if isinstance(index, slice):
            return Rows(self._shaped[index])
        number, shaped = self._shaped[index]
        shown = [decode(each, shaped.picture(i)) for i, each in enumerate(shaped.pictures)]
        columns = {"image": shown[0], **shaped.texts, "id": f"row-{number - 1:05d}"}
        if shaped.messages is None:
            return columns
        return {**columns, "messages": shaped.messages, "more_images": tuple(shown[1:])}

    def identity(self, index: int) -> str:
        """Digest of a row's texts and of its pictures as they are encoded: no decoder, whose
        release may change a pixel, is asked."""
        _, shaped = self._shaped[index]
        pictures = [
            text_digest(encoded(each, shaped.picture(i))) for i, each in enumerate(shaped.pictures)
        ]
        return json_digest([dict(shaped.texts), shaped.messages, pictures])


def check_row(raw: Mapping[str, Any], where: str, tokens: Iterable[str] = ()) -> None:
    """Refuse a product whose texts cannot be used. Raises BadInput naming row and column.

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
        if not isinstance(raw[column], str):
            raise BadInput(f"{where} holds no text in {column!r}; give a string.")
        _check_text(raw[column], f"{where}, column {column!r},", tokens)
    if not raw["description"].strip():
        raise BadInput(f"{where} has an empty description; remove the row or fill it.")


def _check_text(text: str, where: str, tokens: Iterable[str]) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{where} holds half a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}); save the text as UTF-8."
        ) from error
    token = next((token for token in tokens if token in text), None)
    if token is not None:
        raise BadInput(f"{where} contains the control token {token}; remove it from the data.")


def _check(shaped: Shaped, tokens: Sequence[str]) -> None:
    """Refuse texts that cannot be used, and pictures by their headers."""
    if shaped.messages is None:
        check_row({**shaped.texts, "image": None}, shaped.where, tokens)
    for number, turn in enumerate(shaped.messages or (), 1):
        for part in turn["content"]:
            if part["type"] == "text":
                _check_text(part["text"], f"{shaped.where}, message {number},", tokens)
    if not shaped.texts["description"].strip():
        raise BadInput(f"{shaped.where} ends with an empty answer; remove the row or fill it.")
    sizes = [opened(each, shaped.picture(i)).size for i, each in enumerate(shaped.pictures)]
    check_sum(sizes, f"{shaped.where}, column {shaped.column!r},")


def rows_of(
    chosen: Chosen, split: Split, *, limit: int | None = None, tokens: Iterable[str] = ()
) -> Sequence[dict[str, Any]]:
    """The rows of what a context or a spec has chosen; as load_rows."""
    return load_rows(
        chosen.data,
        split,
        limit=limit,
        tokens=tokens,
        columns=chosen.columns,
        splits=chosen.splits,
    )


def load_rows(
    data: str,
    split: Split,
    *,
    limit: int | None = None,
    tokens: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    splits: Sequence[str] = (),
) -> Sequence[dict[str, Any]]:
    """The rows of `catalogue`, `catalogue@<side in pixels>`, a folder or a file, or
    `org/name@<40 hex>`.

    Each row has `image` (PIL RGB), `Product Name`, `Category`, `description`, and `id`; one that
    is a conversation has its `messages` too, and its pictures after the first in `more_images`.
    Pictures are bytes in the row (base64 in JSON), or files within the data's folder; URLs are
    refused. Texts and the pictures' headers are checked here, what is inside a picture when its
    row is asked for. A file called train-… is trained on and every other split held out, or what
    `splits` names; without such names the last tenth is held out. columns: the source's names by
    the recipe's. tokens: as of check_row. Raises BadInput in one sentence for everything that
    cannot be used.
    """
    if data == "catalogue":
        chosen: Sequence[Product] = products(split)[:limit]
        return [{**row(product), "id": product.id} for product in chosen]
    square = SQUARE.match(data)
    if square:
        size = (int(square["side"]),) * 2
        rows_of_any_size = load_rows("catalogue", split, limit=limit)
        return [{**each, "image": each["image"].resize(size)} for each in rows_of_any_size]
    rows = encoded_rows(data, split, limit, columns or {}, splits)
    tokens = tuple(tokens)
    for shaped in rows:
        _check(shaped[1], tokens)
    return Rows(rows)


def encoded_rows(
    data: str, split: Split, limit: int | None, columns: Mapping[str, str], splits: Sequence[str]
) -> list[tuple[int, Shaped]]:
    """(place in the source from 1, row) of a split, nothing of its texts checked."""
    named = {canonical(name): theirs for name, theirs in columns.items()}
    files = tuple(data_files(_hub(data) if HUB.match(data) else path_of(data), splits))
    lines = _part(data, _lines(files, _state(files), wanted(named)), split)[:limit]
    shaper = Shaper(named)
    # Of several files the one is named in which a person would look.
    whole = len(files) == 1
    return [
        (
            number,
            shaper.shaped(line, file, f"Row {within} of {data if whole else file.path}"),
        )
        for number, within, file, line in lines
    ]


# (place in the source from 1, place in its file from 1, the file, the row)
Numbered = tuple[int, int, DataFile, Line]


def _state(files: Sequence[DataFile]) -> tuple[tuple[int, int], ...]:
    """Size and time of change of every file."""
    stats = [file.path.stat() for file in files]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


@lru_cache(maxsize=1)
def _lines(
    files: tuple[DataFile, ...], state: object, columns: tuple[str, ...]
) -> tuple[Numbered, ...]:
    """All rows of a source, raw; kept, for every rung asks for the first few of them again."""
    lines: list[Numbered] = []
    for file in files:
        for within, line in enumerate(read_rows(file.path, columns), 1):
            lines.append((len(lines) + 1, within, file, line))
    return tuple(lines)


def _part(data: str, lines: Sequence[Numbered], split: Split) -> list[Numbered]:
    """The raw rows of a split. Raises BadInput where training or held-out data would be empty."""
    if not lines:
        raise BadInput(f"{data} holds no rows; give data with at least two samples.")
    splits = {file.split for _, _, file, _ in lines}
    if "train" not in splits and None not in splits:
        raise BadInput(
            f"{data} holds only held-out rows ({lines[0][2].path.name}); add a file called "
            "train-…, or name with --split what to train on."
        )
    if "heldout" in splits:
        return [line for line in lines if line[2].split == split]
    if len(lines) < 2:
        raise BadInput(f"{data} holds one row; one to train on and one held out are the least.")
    cut = len(lines) - max(1, len(lines) // HELD_OUT_SHARE)
    return list(lines[:cut] if split == "train" else lines[cut:])


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """Digest over texts and pixels, to identify what was trained on."""
    return text_digest("".join(map(_row_digest, rows)))


def _row_digest(row: Mapping[str, Any]) -> str:
    texts = text_digest("\0".join(row[column] for column in TEXT_COLUMNS))
    own = json_digest(row["messages"]) if "messages" in row else ""
    pictures = [row["image"], *row.get("more_images", ())]
    return texts + own + "".join(text_digest(picture.tobytes()) for picture in pictures)


def _hub(data: str) -> Path:
    """The dataset's rows and pictures at that revision, through huggingface_hub's own cache."""
    from huggingface_hub import snapshot_download

    match = HUB.match(data)
    assert match is not None  # load_rows only comes here on a match
    patterns = [f"{folder}*.{kind}" for kind in DOWNLOADED for folder in ("", "**/")]
    try:
        folder = snapshot_download(
            match["id"],
            repo_type="dataset",
            revision=match["revision"],
            allow_patterns=patterns,
        )
    except Exception as error:
        raise BadInput(
            f"{data} could not be fetched ({type(error).__name__}); check id, revision and network."
        ) from error
    return Path(folder)
