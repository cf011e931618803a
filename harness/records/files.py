"""JSON files and digests: written whole or not at all, damage said in words."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Unwritable
from harness.records.disk import refusal

# How the file ends that becomes another in one step; one that a kill left is nobody's.
TEMPORARY = ".part"


def text_digest(text: str | bytes) -> str:
    """First 16 hex digits of the SHA-256."""
    raw = text.encode("utf-8") if isinstance(text, str) else text
    return hashlib.sha256(raw).hexdigest()[:16]


def json_digest(value: object) -> str:
    """Digest of the canonical JSON of a value."""
    return text_digest(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file, wherever a link leads. limit: in bytes.

    Raises OSError as open does, ValueError for a folder, a pipe or a device (which might never
    end) and for a file that is larger than the limit.
    """
    with regular(path).open("rb") as stream:
        data = stream.read() if limit is None else stream.read(limit + 1)
    if limit is not None and len(data) > limit:
        raise ValueError(f"it has more than {limit:,} bytes")
    return data


def regular(path: Path) -> Path:
    """The path, where it is a regular file. Raises as read_regular does."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder, so a reader never sees half a file.

    Raises OutOfSpace where the disk is full, Unwritable where the file cannot be written, or would
    take the place of a pipe, a device or a folder.
    """
    name = ""
    try:
        if path.exists() and not path.is_file():
            raise Unwritable(f"{path} cannot be written (it is no regular file).")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:100]}.", suffix=TEMPORARY
        )
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; the results are as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise refusal(error.errno or 0, path) from error


def forget(*files: Path) -> None:
    """Remove files and the folders of the run that they leave empty."""
    for file in files:
        file.unlink(missing_ok=True)
        # Not empty, or not ours: kept.
        with contextlib.suppress(OSError):
            file.parent.rmdir()
            file.parent.parent.rmdir()


def remove_strays(folder: Path) -> None:
    """Remove the temporary files of writers that were killed; for a folder that nobody else
    writes into."""
    for stray in folder.rglob(f".*{TEMPORARY}"):
        if stray.is_file() and not stray.is_symlink():
            stray.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically; refuses NaN and infinities (ValueError)."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, as in a path that is no UTF-8, becomes JSON's own escape of it.
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def read_bytes(path: Path, mend: str) -> bytes:
    """A regular file's bytes. Raises BadInput naming the file, and how to mend it."""
    try:
        return read_regular(path)
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise BadInput(f"{path} is not readable JSON ({error}); {mend}.") from error


def parsed(data: bytes, path: Path, mend: str) -> Any:
    """The JSON value of a file's bytes. Raises BadInput naming the file where they are none."""
    try:
        return json.loads(data.decode("utf-8"))
    # A number of thousands of digits is a ValueError, brackets of thousands of levels the other.
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not readable JSON ({error}); {mend}.") from error


def read_json(path: Path, mend: str = "delete it and measure again") -> Any:
    """Read a JSON file. Raises BadInput naming the file, and how to mend it, where it is missing
    or not JSON."""
    return parsed(read_bytes(path, mend), path, mend)


def read_object(path: Path, mend: str = "delete it and measure again") -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises BadInput as read_json, and for no object."""
    return as_object(read_json(path, mend), path, mend)


def read_toml(path: Path, mend: str) -> dict[str, Any]:
    """Read a TOML file. Raises BadInput naming the file, and how to mend it, where it cannot be
    read, is no regular file, or holds something else."""
    try:
        return tomllib.loads(read_regular(path).decode("utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no readable TOML ({error}); {mend}.") from error


def as_object(value: object, path: Path, mend: str) -> dict[str, Any]:
    """A file's JSON value. Raises BadInput where it is no object."""
    if not isinstance(value, dict):
        raise BadInput(f"{path} holds no JSON object; {mend}.")
    return value
