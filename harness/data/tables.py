"""Rows of JSON lines, JSON and CSV files, raw: every limit and encoding that a file can break."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import arrows
from harness.errors import BadInput

# A row is a picture of at most 64 MiB, a third more as base64, and its texts.
MAX_LINE = 96 * 1024 * 1024
# A whole JSON file is parsed at once, into several times its size.
MAX_JSON = 256 * 1024 * 1024


@dataclass(frozen=True)
class Line:
    """One row as its file has it. names: of all its columns, also of those not asked for."""

    columns: Mapping[str, Any]
    names: tuple[str, ...]


def read_rows(path: Path, columns: Collection[str]) -> Iterator[Line]:
    """A file's rows, only the columns asked for. Raises BadInput naming the file and the row."""
    readers: Mapping[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
        ".jsonl": _json_lines,
        ".json": _json,
        ".csv": _csv,
    }
    suffix = path.suffix.lower()
    if suffix in readers:
        for row in readers[suffix](path):
            yield Line({name: row[name] for name in columns if name in row}, tuple(row))
        return
    read = arrows.read_parquet if suffix == ".parquet" else arrows.read_arrow
    for names, row in read(path, columns):
        yield Line(row, names)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise BadInput(
                    f"Line {number} of {path} is longer than {MAX_LINE:,} bytes; scale its picture "
                    "down."
                )
            if line.strip():
                where = f"Line {number} of {path}"
                yield _row(_parsed(line, where), where)


def _json(path: Path) -> Iterator[dict[str, Any]]:
    """A list of rows; or, under that ending too, JSON lines."""
    with path.open("rb") as stream:
        data = stream.read(MAX_JSON + 1)
    if data.lstrip()[:1] == b"{":
        yield from _json_lines(path)
        return
    if len(data) > MAX_JSON:
        raise BadInput(
            f"{path} is larger than {MAX_JSON:,} bytes; write its rows as JSON lines (*.jsonl)."
        )
    rows = _parsed(data, str(path))
    if not isinstance(rows, list):
        raise BadInput(f"{path} holds no list of rows; write [{{…}}, …] or JSON lines.")
    for number, row in enumerate(rows, 1):
        yield _row(row, f"Row {number} of {path}")


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is no UTF-8 text ({error}); save it as UTF-8.") from error
    # A number of thousands of digits is a ValueError, brackets of thousands of levels the other.
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no JSON ({error}); mend it.") from error


def _row(row: Any, where: str) -> dict[str, Any]:
    """A row whose pictures are bytes, where they were base64."""
    if not isinstance(row, dict):
        raise BadInput(f"{where} is no object; give one sample a line.")
    return {name: _with_bytes(value, where) for name, value in row.items()}


def _with_bytes(value: Any, where: str, depth: int = 0) -> Any:
    """depth: pictures lie no deeper than row, messages, message, content, part, picture."""
    if depth > 6:
        return value
    if isinstance(value, list):
        return [_with_bytes(item, where, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("bytes"), str):
        return {name: _with_bytes(item, where, depth + 1) for name, item in value.items()}
    try:
        return {**value, "bytes": base64.b64decode(value["bytes"], validate=True)}
    except ValueError as error:
        raise BadInput(f"{where}: the picture is no base64.") from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    """Comma-separated values under a line of names, quoted as RFC 4180 has it."""
    before = csv.field_size_limit(MAX_LINE)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            for number, row in enumerate(reader, 1):
                if None in row:
                    raise BadInput(
                        f"Row {number} of {path} has more values than the first line has names; "
                        'quote what holds a comma ("…").'
                    )
                yield {name: value for name, value in row.items() if value is not None}
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise BadInput(
            f"Line {reader.line_num} of {path} is no CSV ({error}); quote its values."
        ) from error
    finally:
        csv.field_size_limit(before)
