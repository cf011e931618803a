"""A source checkout by its content: what git tracks, and what it neither tracks nor ignores.

uv keeps what it built of a folder until the folder's pyproject.toml changes, so an edit of a source
file would be judged by the old build. Here every content is copied to a folder of its own, whose
name is its digest, and built there: nothing is ever written into the checkout itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.errors import BadInput
from harness.records.files import read_regular, read_toml
from harness.records.folders import cache_root
from harness.records.scratch import Scratch

BUILDS = ("pyproject.toml", "setup.py")
# Of a folder that is no git repository: what builds and interpreters leave behind.
LEFT_BEHIND = re.compile(r"(\..*|__pycache__|build|dist|node_modules|.*\.egg-info)")
# As a requirement's name is spelled (PEP 508).
_PACKAGE = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")
_NAME = re.compile(r"""^\s*(?:name|NAME|__package_name__)\s*=\s*["']([A-Za-z0-9._-]+)["']""", re.M)


@dataclass(frozen=True)
class Checkout:
    """folder: absolute. name: of its distribution, canonical. digest: 16 hex digits over the names,
    modes and bytes of `files`, which are relative to the folder."""

    folder: Path
    name: str
    digest: str
    files: tuple[Path, ...]

    @property
    def copy(self) -> Path:
        """Where this content is built from."""
        return cache_root() / "checkouts" / f"{self.name}-{self.digest}"


def is_checkout(folder: Path) -> bool:
    """Whether a package can be built from the folder."""
    return any((folder / name).is_file() for name in BUILDS)


def read_checkout(folder: Path, name: str = "") -> Checkout:
    """The folder's content now. name: its distribution's, where the folder need not say.

    Raises BadInput where no package can be built from it, it does not say its name, or a file
    cannot be read.
    """
    folder = folder.resolve()
    name = name or distribution_of(folder)
    files = tuple(sorted(_files(folder)))
    return Checkout(folder, str(canonicalize_name(name)), _digest(folder, files), files)


def distribution_of(folder: Path) -> str:
    """The distribution's canonical name, as its build files have it. Raises BadInput where no
    package can be built from the folder, or it does not say its name."""
    if not is_checkout(folder):
        raise BadInput(
            f"{folder} has neither {' nor '.join(BUILDS)}; give the folder of a source checkout."
        )
    for file in (*BUILDS, "setup.cfg"):
        path = folder / file
        if not path.is_file():
            continue
        if file == "pyproject.toml":
            project = read_toml(path, "mend it").get("project")
            name = project.get("name") if isinstance(project, dict) else None
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
            match = _NAME.search(text) or re.search(r"\bname\s*=\s*[\"']([\w.-]+)[\"']", text)
            name = match[1] if match else None
        if isinstance(name, str):
            if not _PACKAGE.fullmatch(name):
                raise BadInput(f"{path} calls its package {name!r}, which is no package's name.")
            return str(canonicalize_name(name))
    address = folder.resolve().as_uri()
    raise BadInput(f"{folder} does not say what it is called; write NAME @ {address}.")


def _files(folder: Path) -> Iterator[Path]:
    """Files that make the content, relative to the folder; those of submodules too."""
    listed = subprocess.run(
        ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        yield from _plain_files(folder)
        return
    for raw in filter(None, listed.stdout.split(b"\0")):
        path = Path(os.fsdecode(raw))
        whole = folder / path
        if whole.is_dir() and not whole.is_symlink():
            yield from (path / inner for inner in _files(whole))
        elif whole.is_symlink() or whole.exists():  # else deleted, and not yet committed
            yield path


def _plain_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not LEFT_BEHIND.fullmatch(name)]
        for name in files:
            if not name.endswith(".pyc"):
                yield Path(place, name).relative_to(folder)


def _digest(folder: Path, files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        whole = folder / path
        try:
            if whole.is_symlink():
                kind, content = b"link", os.fsencode(os.readlink(whole))
            else:
                kind = b"program" if os.access(whole, os.X_OK) else b"file"
                content = read_regular(whole)
        except OSError as error:
            raise BadInput(f"{whole} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise BadInput(f"{whole} cannot be read ({error}); take it out.") from error
        # Lengths between the parts: no two contents read alike.
        for part in (os.fsencode(path), kind, content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def copied(checkout: Checkout) -> Path:
    """The content in its own folder of the cache, copied there unless it is.

    Raises BadInput where the checkout was edited while it was copied.
    """
    if checkout.copy.is_dir():
        return checkout.copy
    with Scratch(checkout.copy.parent / "copying") as scratch:
        half = scratch / checkout.copy.name
        for path in checkout.files:
            (half / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout.folder / path, half / path, follow_symlinks=False)
        if _digest(half, checkout.files) != checkout.digest:
            raise BadInput(f"{checkout.folder} was edited while it was copied; give it again.")
        try:
            half.rename(checkout.copy)
        except OSError:
            if not checkout.copy.is_dir():  # else another process was first with the same content
                raise
    return checkout.copy
