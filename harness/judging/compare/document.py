"""Read `comparison.json` back: what another command needs of it is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.compare.comparison import COMPARISON_SCHEMA, is_directory
from harness.judging.goldens.golden import BandKind
from harness.records.files import read_object
from harness.records.typed import Rules, build

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class _Facts:
    model: str
    data: str
    model_digest: str
    device_key: str


@dataclass(frozen=True)
class _Band:
    kind: BandKind
    limit: float
    origin: str


@dataclass(frozen=True)
class _Side:
    status: str | None


@dataclass(frozen=True)
class _Finding:
    id: str
    rung: str
    metric: str
    standing: str
    old: _Side
    new: _Side
    band: _Band
    cause: str
    accepted: bool


@dataclass(frozen=True)
class _Document:
    """What a bisect takes from the document; the rest of it is for people and other tools."""

    old: str
    new: str
    facts: _Facts
    packages: Mapping[str, tuple[str, ...]]
    findings: tuple[_Finding, ...]
    old_given: str = ""
    new_given: str = ""


def read_comparison(folder: Path) -> dict[str, Any]:
    """A comparison's document. Raises BadInput where there is none, or of another schema, or it
    is damaged, or it compares directories of records."""
    path = folder / COMPARISON
    if not path.is_file():
        raise BadInput(f"{folder} holds no {COMPARISON}; give the folder of a `harness compare`.")
    raw = read_object(path, "compare again")
    if raw.get("schema") != COMPARISON_SCHEMA:
        raise BadInput(f"{path} has schema {raw.get('schema')!r}; compare again.")
    try:
        found = build(_Document, raw, Rules(more=True))
        torn = [name for name, versions in found.packages.items() if len(versions) != 2]
        if torn:
            raise ValueError(f"packages.{torn[0]} has not two versions")
    except ValueError as error:
        raise BadInput(f"{path} is not a complete comparison ({error}); compare again.") from error
    # Older documents say only the stacks.
    sides = (found.old_given or found.old, found.new_given or found.new)
    if any(map(is_directory, sides)):
        raise BadInput(
            f"{path} compares directories of records; packages can only be swapped between stacks."
        )
    return raw
