"""What must survive is sealed: a folder's manifest of SHA-256 digests, written last, or a document
that carries its own.

A flipped bit, a file that is missing, cut short or edited is then refused by name instead of
passing for what was measured. A seal is no signature: whoever rewrites the manifest as well has
made other files, and nothing here tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
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
BESIDE = "beside"


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
    manifest = _manifest(folder, mend)
    if digest not in {None, manifest.digest}:
        raise Damaged(f"{path} is not as it was written; {mend}.")
    missing = sorted(set(names) - set(manifest.files))
    if missing:
        raise Damaged(f"{path} does not seal {missing[0]}; {mend}.")
    for name, sealed in manifest.files.items():
        _check_file(path, name, sealed, mend)


def _manifest(folder: Path, mend: str) -> Seal:
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
    if manifest.digest != _over(manifest.files):
        raise Damaged(f"{path} is not as it was written; {mend}.")
    return manifest


def check_file(folder: Path, name: str, mend: str) -> None:
    """Raise Damaged where one file of a sealed folder is not what its manifest says."""
    manifest = _manifest(folder, mend)
    if name not in manifest.files:
        raise Damaged(f"{folder / NAME} does not seal {name}; {mend}.")
    _check_file(folder / NAME, name, manifest.files[name], mend)


def _check_file(manifest: Path, name: str, sealed: str, mend: str) -> None:
    """manifest: the file that says what `name`, below its folder, was."""
    path = manifest.parent / name
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise Damaged(f"{manifest} names {name!r} outside its folder; {mend}.")
    try:
        is_whole = file_digest(path) == sealed
    except FileNotFoundError as error:
        raise Damaged(f"There is no file {path}, which its seal names; {mend}.") from error
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error}); {mend}.") from error
    if not is_whole:
        raise Damaged(f"{path} is not as it was written (its seal is broken); {mend}.")


def write_sealed(path: Path, document: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    """Write a JSON document with its own seal, atomically.

    files: paths below its folder of what belongs to it, written before it and sealed by it.
    """
    write_json(path, sealed(document, path.parent, files))


def read_sealed(path: Path, mend: str, unsealed_schemas: Collection[object] = ()) -> dict[str, Any]:
    """A document that write_sealed wrote, without its seal.

    unsealed_schemas: those that were written before files of this kind had a seal. Raises BadInput
    where there is none, Damaged naming the file that is not as it was written.
    """
    raw = read_object(path, mend)
    if KEY not in raw and raw.get("schema") in unsealed_schemas:
        return raw
    return unsealed(raw, path, mend)


def sealed(
    document: Mapping[str, Any], folder: Path | None = None, files: Iterable[str] = ()
) -> dict[str, Any]:
    """A JSON document with its own seal. files: of the folder, that belong to it."""
    beside = {name: file_digest((folder or Path()) / name) for name in sorted(files)}
    # Names that are numbers become texts first, as they are once it is read.
    read_back = json.loads(json.dumps(document))
    seal: dict[str, Any] = {"document": _content_digest(read_back, beside)}
    if beside:
        seal["files"] = beside
    return {**document, KEY: seal}


def unsealed(
    raw: Mapping[str, Any], path: Path, mend: str, beside: Path | None = None
) -> dict[str, Any]:
    """Inverse of sealed, of a document read from `path`.

    beside: a file that it must have sealed where there is one. Raises Damaged naming the file that
    is not as it was written: the document, or one that it seals.
    """
    document = {name: value for name, value in raw.items() if name != KEY}
    seal = raw.get(KEY)
    if not isinstance(seal, Mapping):
        raise Damaged(f"{path} carries no seal; {mend}.")
    files = seal.get("files", {})
    if not isinstance(files, Mapping) or seal.get("document") != _content_digest(document, files):
        raise Damaged(f"{path} is not as it was written (its seal is broken); {mend}.")
    # As records were sealed first: the one file of the document's own name.
    if BESIDE in seal:
        files = {path.with_suffix(".safetensors").name: seal[BESIDE]}
    for name, digest in files.items():
        _check_file(path, name, str(digest), mend)
    if beside is not None and beside.is_file() and beside.name not in files:
        raise Damaged(f"{beside} is not as it was written ({path.name} does not seal it); {mend}.")
    return document


def _content_digest(document: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """Over the canonical JSON: what a document, as it is read, says and what lies beside it, not
    how it is laid out."""
    content = {**document, KEY: dict(beside)} if beside else dict(document)
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _over(files: Mapping[str, str]) -> str:
    text = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
