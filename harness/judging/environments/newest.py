"""The newest releases of the five libraries that resolve together, against a lock that is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from harness.errors import StackBroken
from harness.judging.environments.build import resolve
from harness.judging.environments.given import pins_in
from harness.judging.environments.releases import published
from harness.judging.environments.stack import pins
from harness.records.folders import STACKS

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes")
# The stack whose names are resolved anew, and whose lock is the first that is known to be good.
LATEST = "latest"
_REASON = re.compile(r"^.*? cannot be installed: ")


@dataclass(frozen=True)
class Moved:
    """A library's version in the known lock, '' where it is absent, and in the newest."""

    library: str
    known: str
    newest: str


@dataclass(frozen=True)
class Held:
    """A release that is out and that nothing resolves with: the newest lock keeps `kept`. why:
    what uv says of it."""

    library: str
    release: str
    kept: str
    why: str


@dataclass(frozen=True)
class Newest:
    """lock: a requirements file's text, every version exact. moved: libraries whose version is
    another than in the known lock; none: there is nothing to judge."""

    lock: str
    moved: tuple[Moved, ...]
    held: tuple[Held, ...]


def committed_lock() -> str:
    """The text of the committed lock of `latest`."""
    return (STACKS / f"{LATEST}.lock").read_text(encoding="utf-8")


def newest(known: str, folder: Path) -> Newest:
    """What the package index has now. known: the text of a lock. folder: where uv may work.

    Raises StackBroken where nothing resolves, NotRunnable where the index cannot be reached.
    """
    names = "".join(f"{pin.name}\n" for pin in pins(LATEST))
    lock = resolve(names, "", "newest", folder)
    before, now = pins_in(known), pins_in(lock)
    return Newest(lock, tuple(_moved(before, now)), tuple(_held(now, names, folder)))


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Moved]:
    for library in LIBRARIES:
        pair = before.get(library, ""), now.get(library, "")
        if pair[0] != pair[1]:
            yield Moved(library, *pair)


def _held(now: Mapping[str, str], names: str, folder: Path) -> Iterator[Held]:
    """The final releases that are newer than what resolved, each with uv's reason."""
    for library in LIBRARIES:
        final = [r.version for r in published(library) if not (r.yanked or r.version.is_prerelease)]
        if not final or library not in now or max(final) <= Version(now[library]):
            continue
        release = str(max(final))
        try:
            resolve(f"{names}{library}=={release}\n", "", f"{library} {release}", folder)
            why = "uv prefers the older one, though it resolves"
        except StackBroken as error:
            why = _REASON.sub("", str(error))
        yield Held(library, release, now[library], why)
