"""Rows of parquet files and of `save_to_disk` folders (Arrow streams), with raw bytes.

The `datasets` library's image feature never decodes, and so never fetches, anything here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from harness.data.sources import MAX_BYTES
from harness.errors import BadInput

# (names of all columns, the columns asked for)
Row = tuple[tuple[str, ...], dict[str, Any]]


def read_parquet(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """A parquet file's rows. Raises BadInput naming the file and the row."""
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
            names = tuple(file.schema_arrow.names)
            present = [name for name in columns if name in names]
            for batch in file.iter_batches(batch_size=64, columns=present):
                for i in range(batch.num_rows):
                    number += 1
                    yield names, {name: batch.column(name)[i].as_py() for name in present}
    except UnicodeDecodeError as error:
        raise _no_text(number, path, error) from error
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{path} is no readable parquet ({reason}); fetch it again.") from error


def read_arrow(path: Path, columns: Collection[str]) -> Iterator[Row]:
    """The rows of one of `save_to_disk`'s files: an Arrow stream, mapped and not copied.

    Raises BadInput naming the file and the row.
    """
    from pyarrow import ArrowException, ipc, memory_map

    number = 0
    try:
        with memory_map(str(path)) as mapped, ipc.open_stream(mapped) as stream:
            names = tuple(stream.schema.names)
            present = [name for name in columns if name in names]
            for batch in stream:
                for i in range(batch.num_rows):
                    number += 1
                    yield names, {name: batch.column(name)[i].as_py() for name in present}
    except UnicodeDecodeError as error:
        raise _no_text(number, path, error) from error
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(
            f"{path} is no readable Arrow stream ({reason}); save the dataset again."
        ) from error


def _no_text(number: int, path: Path, error: UnicodeDecodeError) -> BadInput:
    return BadInput(f"Row {number} of {path} is no UTF-8 text ({error}); save it as UTF-8.")
