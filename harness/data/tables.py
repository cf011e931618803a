"""Rows of JSON lines and parquet files, raw: every limit and encoding that a file can break."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.sources import MAX_BYTES
from harness.errors import BadInput

# A row is a picture of at most 64 MiB, a third more as base64, and its texts.
MAX_LINE = 96 * 1024 * 1024


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A file's rows, only the columns asked for. Raises BadInput naming the file and the row."""
    reader = _json_lines if path.suffix == ".jsonl" else _parquet
    return reader(path, columns)


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
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
                yield _object(line, f"Line {number} of {path}", columns)


def _object(line: bytes, where: str, columns: Sequence[str]) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is no UTF-8 text ({error}); save it as UTF-8.") from error
    # A number of thousands of digits is a ValueError, brackets of thousands of levels the other.
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no JSON ({error}); mend it.") from error
    if not isinstance(row, dict):
        raise BadInput(f"{where} is no object; give one product a line.")
    row = {name: row[name] for name in columns if name in row}
    picture = row.get("image")
    if isinstance(picture, dict) and isinstance(picture.get("bytes"), str):
        try:
            row["image"] = {"bytes": base64.b64decode(picture["bytes"], validate=True)}
        except ValueError as error:
            raise BadInput(f"{where}: the picture is no base64.") from error
    return row


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows with raw bytes; the datasets image feature never decodes (or fetches) anything."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(str(path)) as file:
            unpacked = sum(
                file.metadata.row_group(i).total_byte_size
                for i in range(file.metadata.num_row_groups)
            )
            if unpacked > MAX_BYTES:
                raise BadInput(
                    f"{path} unpacks to {unpacked:,} bytes, the limit is {MAX_BYTES:,}; give a "
                    "part of it."
                )
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=64, columns=present):
                for i in range(batch.num_rows):
                    number += 1
                    yield {name: batch.column(name)[i].as_py() for name in present}
    except UnicodeDecodeError as error:
        raise BadInput(
            f"Row {number} of {path} is no UTF-8 text ({error}); save it as UTF-8."
        ) from error
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{path} is no readable parquet ({reason}); fetch it again.") from error
