"""The ordered releases of a package, as a range: from the registry's own metadata, or from wheels.

The registry is asked by the `pypi-simple` library, run by uv in an environment of its own, with
the index that pip or uv is configured to use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from harness.errors import BadInput, NotRunnable
from harness.judging.environments.build import uv_binary

CLIENT = "pypi-simple==1.8.0"
TIMEOUT_S = 120
# Runs in uv's own environment: prints one JSON list of files. The library's default index is the
# public one; the variables are those that pip and uv read.
_ASK = """
import json, sys
from pypi_simple import PyPISimple, NoSuchProjectError
name, index = sys.argv[1], sys.argv[2]
with (PyPISimple(index) if index else PyPISimple()) as client:
    try:
        page = client.get_project_page(name)
    except NoSuchProjectError:
        sys.exit(4)
print(json.dumps([[f.version, f.package_type, bool(f.is_yanked), f.requires_python, f.filename,
                   f.upload_time.date().isoformat() if f.upload_time else ""]
                  for f in page.packages]))
"""


@dataclass(frozen=True)
class Release:
    """One release. wheel: its file, where the range comes from a folder of wheels."""

    version: Version
    yanked: bool = False
    wheel: Path | None = None

    def requirement(self, package: str) -> str:
        """What to install: `package==version`, or the wheel's path."""
        return str(self.wheel) if self.wheel else f"{package}=={self.version}"


def published(package: str) -> tuple[Release, ...]:
    """Every release that this Python may install, oldest first, yanked and early ones included.

    Raises BadInput for a package that the registry does not know, NotRunnable where it cannot be
    reached (offline: give a folder of wheels).
    """
    return _ordered(tuple(file[:5]) for file in _files(package))


def released(package: str) -> dict[str, str]:
    """The day (`2026-11-23`) of every release's first file, by version; one that the registry does
    not say is left out. Raises as published does."""
    days: dict[str, str] = {}
    for version, *_, day in _files(package):
        if version and day:
            days[version] = min(day, days.get(version, day))
    return days


@cache
def _files(package: str) -> tuple[list[Any], ...]:
    """What the registry says of every file: version, type, yanked, Python, name, day."""
    index = next(
        (
            v
            for n in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
            if (v := os.environ.get(n))
        ),
        "",
    )
    words = [
        "run",
        "--quiet",
        "--isolated",
        "--no-project",
        "--python",
        sys.executable,
        "--with",
        CLIENT,
        "python",
        "-c",
        _ASK,
        package,
        index,
    ]
    try:
        done = subprocess.run(
            [uv_binary(), *words], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotRunnable(
            f"The registry did not answer within {TIMEOUT_S} s; try again, or give --wheels."
        ) from error
    if done.returncode == 4:
        raise BadInput(f"The registry knows no package {package!r}; check its name.")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]
        raise NotRunnable(
            f"The releases of {package} cannot be listed ({last}); give --wheels to work offline."
        )
    return tuple(json.loads(done.stdout))


def _ordered(
    files: Iterable[tuple[str | None, str | None, bool, str | None, str]],
) -> tuple[Release, ...]:
    """Releases from the index's files: those with a file that this Python may install."""
    yanked_by: dict[Version, bool] = {}
    for text, _, yanked, python, name in files:
        if text is None or not fits(python, name):
            continue
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        # A release is yanked when every file of it is.
        yanked_by[version] = yanked_by.get(version, True) and yanked
    return tuple(Release(v, yanked_by[v]) for v in sorted(yanked_by))


def fits(python: str | None, name: str) -> bool:
    """Whether this Python may install a file of that name. python: its requires-python."""
    if python:
        try:
            if ".".join(map(str, sys.version_info[:3])) not in SpecifierSet(python):
                return False
        except InvalidSpecifier:
            return False
    if not name.endswith(".whl"):
        return name.endswith((".tar.gz", ".zip"))
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return False
    return not tags.isdisjoint(_supported())


@cache
def _supported() -> frozenset[Tag]:
    """The wheel tags that this interpreter may install."""
    return frozenset(sys_tags())


def in_folder(package: str, folder: Path) -> tuple[Release, ...]:
    """Every wheel of the package in a folder that this Python may install, oldest first.

    Raises BadInput where there is none.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}; give one that holds wheels of {package}.")
    versions = {}
    for path in sorted(folder.glob("*.whl")):
        if not fits(None, path.name):
            continue
        name, version, *_ = parse_wheel_filename(path.name)
        if name == canonicalize_name(package):
            versions[version] = Release(version, wheel=path.resolve())
    if not versions:
        raise BadInput(f"{folder} holds no wheel of {package} that this Python may install.")
    return tuple(versions[v] for v in sorted(versions))


def between(
    releases: Iterable[Release],
    package: str,
    good: str,
    bad: str,
    *,
    pre: bool = False,
    yanked: bool = False,
) -> tuple[Release, ...]:
    """The releases from one end to the other, in the order good … bad (either may be newer).

    pre: keep pre-releases and development releases. yanked: keep yanked ones. The ends are kept
    whatever they are. Raises BadInput for an end that does not exist, or equal ends.
    """
    by_version = {release.version: release for release in releases}
    ends = []
    for text, word in ((good, "--good"), (bad, "--bad")):
        try:
            version = Version(text)
        except InvalidVersion as error:
            raise BadInput(f"{word} {text!r} is no version.") from error
        if version not in by_version:
            near = [str(v) for v in by_version if v.release[:2] == version.release[:2]][:6]
            raise BadInput(
                f"{word} {text}: {package} has no such release for this Python"
                + (f"; near it are {', '.join(near)}." if near else ".")
            )
        ends.append(version)
    if ends[0] == ends[1]:
        raise BadInput(f"--good and --bad are both {good}; give two releases.")
    low, high = sorted(ends)
    kept = [
        release
        for version, release in sorted(by_version.items())
        if low <= version <= high
        and (
            version in ends
            or ((pre or not version.is_prerelease) and (yanked or not release.yanked))
        )
    ]
    return tuple(kept if ends[0] == low else kept[::-1])
