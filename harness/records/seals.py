"""What must survive is sealed: a folder's manifest of SHA-256 digests, written last, or a document
that carries its own.

A flipped bit, a file that is missing, cut short or edited is then refused by name instead of
passing for what was measured. A seal is no signature: whoever rewrites the manifest as well has
made other files, and nothing here tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import BadInput, Damaged
from harness.records.files import read_object, regular, write_json
from harness.records.typed import build

# History: 1 (2026-11) first format.
SCHEMA_VERSION = 1
NAME = "seal.json"
KEY = "seal"


@dataclass(frozen=True)
class Seal:
    """files: SHA-256 (64 hex digits) by path below the folder. digest: over all of them, so that
    an entry that is gone is missed."""

    schema: int
    files: Mapping[str, str]
    digest: str


def file_digest(path: Path) -> str:
    """SHA-256 of a regular file, 64 hex digits. Raises OSError, ValueError as read_regular."""
    with regular(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(folder: Path, names: Iterable[str]) -> str:
    """Write the folder's manifest over these files, its last; returns the manifest's digest."""
    files = {name: file_digest(folder / name) for name in sorted(names)}
    digest = _over(files)
    write_json(folder / NAME, {"schema": SCHEMA_VERSION, "files": files, "digest": digest})
    return digest


def is_sealed(folder: Path) -> bool:
    """Whether the folder has a manifest, whatever it says."""
    return (folder / NAME).is_file()


def unseal(folder: Path) -> None:
    """Take the manifest away before its files are written anew."""
    (folder / NAME).unlink(missing_ok=True)


def check_seal(folder: Path, names: Iterable[str], mend: str, digest: str | None = None) -> None:
    """Raise Damaged naming the first file that is not what was sealed.

    names: files that the manifest must hold; it may hold others, which are checked too. digest:
    of the manifest, where another file says which one it must be. mend: what to do.
    """
    path = folder / NAME
    try:
        manifest = build(Seal, read_object(path, mend))
    except ValueError as error:
        raise Damaged(f"{path} is not a complete seal ({error}); {mend}.") from error
    except BadInput as error:
        raise Damaged(str(error)) from error
    if manifest.schema != SCHEMA_VERSION:
        raise Damaged(
            f"{path} has seal schema {manifest.schema}, this harness reads "
            f"{SCHEMA_VERSION}; {mend}."
        )
    if manifest.digest != _over(manifest.files) or digest not in {None, manifest.digest}:
        raise Damaged(f"{path} is not as it was written; {mend}.")
    missing = sorted(set(names) - set(manifest.files))
    if missing:
        raise Damaged(f"{path} does not seal {missing[0]}; {mend}.")
    for name, sealed in manifest.files.items():
        _check_file(folder, name, sealed, mend)


def _check_file(folder: Path, name: str, sealed: str, mend: str) -> None:
    path = folder / name
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise Damaged(f"{folder / NAME} names {name!r} outside its folder; {mend}.")
    try:
        is_whole = file_digest(path) == sealed
    except FileNotFoundError as error:
        raise Damaged(f"There is no file {path}, which its seal names; {mend}.") from error
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error}); {mend}.") from error
    if not is_whole:
        raise Damaged(f"{path} is not as it was written (its seal is broken); {mend}.")


def sealed(document: Mapping[str, Any], beside: Path | None = None) -> dict[str, Any]:
    """A JSON document with its own seal. beside: a file that belongs to it, where there is one."""
    seal = {"document": _content_digest(document)}
    if beside is not None and beside.is_file():
        seal["beside"] = file_digest(beside)
    return {**document, KEY: seal}


def unsealed(
    raw: Mapping[str, Any], path: Path, mend: str, beside: Path | None = None
) -> dict[str, Any]:
    """Inverse of sealed, of a document read from `path`; a file beside it that is gone is not
    missed here. Raises Damaged naming the file that is not as it was written."""
    document = {name: value for name, value in raw.items() if name != KEY}
    seal = raw.get(KEY)
    if not isinstance(seal, Mapping):
        raise Damaged(f"{path} carries no seal; {mend}.")
    if seal.get("document") != _content_digest(document):
        raise Damaged(f"{path} is not as it was written (its seal is broken); {mend}.")
    if beside is not None and beside.is_file():
        _check_file(beside.parent, beside.name, str(seal.get("beside")), mend)
    return document


def _content_digest(document: Mapping[str, Any]) -> str:
    """Over the canonical JSON: what a document says, not how it is laid out."""
    read_back = json.loads(json.dumps(document))  # names that are numbers become texts first
    text = json.dumps(read_back, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _over(files: Mapping[str, str]) -> str:
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
