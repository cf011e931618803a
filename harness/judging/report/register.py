"""The register's page, from its entries: `harness register table [--write]`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.version import Version

from harness.judging.compare.register import SEVERITIES, Change, read_register
from harness.records.folders import REGISTER

PATH = REGISTER / "README.md"
SHOWN = "harness/judging/compare/known_changes/README.md"
HEAD = """# Known changes of the libraries

Written by `harness register table --write` from the entries in this folder; a test keeps it so.

One file per change: library, release, severity, advice, evidence, and a predicate that a difference
must satisfy. An entry explains only differences that satisfy it, and only where the two versions
lie on either side of the release. What follows from a change is explained only where the entry's
*cause*, the metric that shows the change itself, moved as the entry says in the same comparison,
inside its band too where the entry says by how much. No error matches but the one that an entry
names. A size is bounded by what arithmetic gives, or within three times of what was measured
(`golden/matrix/moved.json`); there is no catch-all: what nothing explains is *unknown*. `harness
compare` names the entries that it found at work.
*Until*: the first release without it again; *mends*: the release that had brought the fault.
"""
COLUMNS = ("release", "severity", "what changes", "what to do")


def release(change: Change) -> str:
    """The release that brought a change, and where it began or ends."""
    began = f", mends {change.since}" if change.since else ""
    ends = f", until {change.until}" if change.until else ""
    return f"{change.first}{began}{ends}"


def row(change: Change) -> str:
    """One line of a library's table."""
    what = f"[{change.title}]({change.name}.toml). {change.effect}"
    cells = (release(change), change.severity, what, change.advice)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(changes: Iterable[Change]) -> str:
    """Changes of one library by release, at one release the severest first."""
    ordered = sorted(
        changes, key=lambda c: (Version(c.first), SEVERITIES.index(c.severity), c.name)
    )
    rule = "|---" * len(COLUMNS) + "|"
    return "\n".join([f"| {' | '.join(COLUMNS)} |", rule, *map(row, ordered)])


def page(folder: Path = REGISTER) -> str:
    """The whole file: one table per library, the one with most changes first.

    Raises BadInput naming an entry that is malformed.
    """
    by_library: dict[str, list[Change]] = {}
    for change in read_register(folder):
        by_library.setdefault(change.library, []).append(change)
    sections = [
        f"\n## {library}\n\n{table(changes)}\n"
        for library, changes in sorted(by_library.items(), key=lambda kv: (-len(kv[1]), kv[0]))
    ]
    return HEAD + "".join(sections)
