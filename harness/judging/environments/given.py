"""Stacks that a user has already: a requirements file, a lock, an environment.

`requirements:FILE`, `lock:FILE` (uv.lock, pylock.toml) and `python:PATH`; each is known by a digest
of what it says, and none is ever written to.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.errors import BadInput
from harness.judging.environments.checkout import is_checkout, read_checkout
from harness.records.files import json_digest, text_digest
from harness.records.folders import path_of

KINDS = ("requirements", "lock", "python")
PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")
LEAST_PYTHON = (3, 11)
# `-r other.txt`, `--constraint=other.txt`: files that a requirements file is made of, too.
_INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s+|\s*=\s*|(?=[^\s=-]))(\S+)")
_LOCAL = re.compile(r"(?:-e\s|--editable[\s=]|\.{0,2}/|[\w.-]+(\[[^\]]*\])?\s*@\s*file:)")


def source_of(kind: str, text: str) -> str:
    """The absolute path that a spec of that kind names. Raises BadInput where it names none."""
    path = Path(os.path.abspath(path_of(text)))
    if kind == "python":
        # A link to an interpreter is how an environment is known: it is not followed.
        inside = path / "bin" / "python"
        path = inside if path.is_dir() and inside.exists() else path
        if not path.is_file() or not os.access(path, os.X_OK):
            raise BadInput(
                f"{text} is no Python; give an environment's interpreter: python:.venv/bin/python."
            )
        return str(path)
    if not path.is_file():
        raise BadInput(f"There is no file {text}; give {kind}:FILE.")
    if kind == "lock" and path.name != "uv.lock" and not PYLOCK.fullmatch(path.name):
        raise BadInput(f"{text} is called neither uv.lock nor pylock.toml; give one of these.")
    if path.name == "uv.lock" and not (path.parent / "pyproject.toml").is_file():
        raise BadInput(f"{text} has no pyproject.toml beside it, which says what it locks.")
    return str(path)


def digest_of(kind: str, source: str) -> str:
    """16 hex digits over everything that decides what the stack holds. Raises BadInput where that
    cannot be told."""
    path = Path(source)
    if kind == "python":
        return json_digest(list(_installed(source)))
    if kind == "requirements":
        return json_digest([text for _, text in included(path)])
    files = [path, path.parent / "pyproject.toml"] if path.name == "uv.lock" else [path]
    return json_digest([text_digest(_read(file)) for file in files])


def included(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, str]]:
    """(file, text) of a requirements file and of those that it includes, each before its own.

    Raises BadInput for one that includes itself, cannot be read, or installs a folder: that may
    change and the file would not.
    """
    if path in above:
        raise BadInput(f"{path} includes itself; mend it.")
    text = _read(path).decode("utf-8", errors="replace")
    yield path, text
    for number, line in enumerate(text.splitlines(), 1):
        if _LOCAL.match(line.strip()):
            raise BadInput(
                f"Line {number} of {path} installs a folder ({line.strip()[:60]}), which may "
                "change and the file not; name it as a checkout: latest,./folder."
            )
        if other := _INCLUDED.match(line.strip()):
            inner = path.parent / other[1]
            yield from included(Path(os.path.abspath(inner)), (*above, path))


def exact_pins(path: Path) -> dict[str, str]:
    """The versions that a requirements file and those that it includes ask for exactly, by
    canonical name; what a marker leaves out here is not asked for."""
    pinned: dict[str, str] = {}
    for _, text in included(path):
        pinned |= pins_in(text)
    return pinned


def pins_in(text: str) -> dict[str, str]:
    """The same of one requirements file's text."""
    pinned: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition(" #")[0].partition(" --hash")[0].rstrip(" \\")
        try:
            wish = Requirement(words)
        except InvalidRequirement:
            continue  # an option, a comment, a line of hashes
        exact = [s.version for s in wish.specifier if s.operator == "==" and "*" not in s.version]
        if exact and (wish.marker is None or wish.marker.evaluate()):
            pinned[str(canonicalize_name(wish.name))] = exact[0]
    return pinned


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error


# Prints its version, and every distribution: name, version, and the folder of an editable one.
_LISTING = """
import json, sys
from importlib.metadata import distributions
rows = []
for each in distributions():
    direct = json.loads(each.read_text("direct_url.json") or "{}")
    editable = direct.get("dir_info", {}).get("editable", False)
    rows.append([each.metadata["Name"], each.version, direct.get("url", "") if editable else ""])
print(json.dumps([list(sys.version_info[:3]), sys.platform, sorted(rows, key=str)]))
"""


def _listed(python: str) -> tuple[tuple[int, ...], tuple[tuple[str, str, str], ...]]:
    """(version, (name, version, folder of an editable one) of all that is installed)."""
    done = subprocess.run(
        # Without a file of bytecode, and without what the variables of this process would add.
        [python, "-B", "-I", "-c", _LISTING],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise BadInput(f"{python} cannot be asked what it has ({why}).")
    version, _, rows = json.loads(done.stdout)
    return tuple(version), tuple((str(n), str(v), str(url)) for n, v, url in rows)


def _installed(python: str) -> Iterator[list[str]]:
    """What is installed, an editable checkout by its content."""
    version, rows = _listed(python)
    yield [".".join(map(str, version)), sys.platform]
    for name, release, url in rows:
        folder = path_of(url.removeprefix("file://")) if url else None
        content = ""
        if folder is not None and folder.is_dir() and is_checkout(folder):
            content = read_checkout(folder, name).digest
        yield [name, release, content]


def versions_of(python: str) -> dict[str, str]:
    """What is installed for an interpreter, by name in lower case. Raises BadInput for a Python
    that the harness does not run in."""
    version, rows = _listed(python)
    if version[:2] < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        raise BadInput(
            f"{python} is Python {'.'.join(map(str, version))}, the harness needs {least}; make "
            "the environment anew with a later one."
        )
    return {name.lower(): release for name, release, _ in rows}
