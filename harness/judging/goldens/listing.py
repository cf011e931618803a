"""Every golden with its origin and band, and the files under golden/ that nothing reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.judging.goldens.golden import (
    ANY_FAMILY,
    BandKind,
    Golden,
    observed_path,
    read_goldens,
    truth_path,
)
from harness.recipe.published import VARIANTS
from harness.records.folders import FAMILIES, GOLDEN, PROBES, STACKS
from harness.records.recipes import recipe_called, variant_digests
from harness.records.record import RUNGS

# A name put together from less than this says nothing of what it may become.
LEAST_LETTERS = 4
# Folders whose files are read, and told to be whole, by others.
SEALED_ELSEWHERE = frozenset({"lane", "families", "matrix", "power"})
# What two stacks, and what two kinds of CPU, may differ by.
BANDS = frozenset({("bands", "compare.json"), ("bands", "kinds.json")})


@dataclass(frozen=True)
class Listed:
    """A golden. path: from the folder above golden/. unused: whether nothing reads it, with why."""

    path: str
    kind: str
    cases: int
    origin: str
    band: BandKind
    limit: float
    unused: bool
    why: str


@dataclass(frozen=True)
class Stray:
    """A file that nothing reads, and why."""

    path: str
    why: str


def listed(root: Path = GOLDEN) -> tuple[Listed, ...]:
    """Every golden. Raises BadInput naming a malformed one."""
    return tuple(_listed(golden, root) for golden in read_goldens(root))


def _listed(golden: Golden, root: Path) -> Listed:
    why = _unused(golden, root)
    return Listed(
        path=str(Path(golden.path).relative_to(root.parent)),
        kind=golden.kind,
        cases=len(golden.cases),
        origin=golden.origin,
        band=golden.band.kind,
        limit=golden.band.limit,
        unused=bool(why),
        why=why,
    )


def stray(root: Path = GOLDEN) -> tuple[Stray, ...]:
    """The files that are neither golden, band, list of a committed stack, nor the lane's, the
    families' or the matrix's."""
    strays = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        parts = path.relative_to(root).parts
        kept = parts[0] in SEALED_ELSEWHERE or parts in BANDS
        kept = kept or (parts[0] in {"truth", "observed"} and path.suffix == ".json")
        why = "" if kept else "nothing reads it"
        if parts[0] == "expected" and path.suffix == ".json":
            why = _no_list(path.stem, parts[1:-1])
        if why:
            strays.append(Stray(str(path.relative_to(root.parent)), why))
    return tuple(strays)


def _no_list(name: str, folders: tuple[str, ...]) -> str:
    """Why a file of expected findings is read by nothing: `<stack>` or `<stack>@<recipe>`, or
    `<family>/<stack>`."""
    if folders and (len(folders) > 1 or folders[0] not in _families()):
        return f"there is no model family {'/'.join(folders)}"
    stack, at, recipe = name.partition("@")
    if stack not in _stacks():
        return f"no stack {stack} is committed"
    if at and recipe not in VARIANTS:
        return f"there is no recipe {recipe}"
    return ""


def _families() -> set[str]:
    names = {path.stem for path in FAMILIES.glob("*.py") if not path.stem.startswith("_")}
    return {*names, ANY_FAMILY}


def _stacks() -> set[str]:
    return {path.stem for path in STACKS.glob("*.lock")}


def _unused(golden: Golden, root: Path) -> str:
    """Why nothing reads a golden; empty where it is used."""
    place = (golden.rung, golden.family, golden.metric)
    if golden.family not in _families():
        return f"there is no model family {golden.family}"
    if golden.rung not in RUNGS or not _is_measured(golden.metric):
        return f"no probe measures {golden.rung}.{golden.metric}"
    if golden.kind == "observed" and golden.stack not in _stacks():
        return f"no stack {golden.stack} is committed"
    for name, digest in _recipes_of(golden).items():
        if variant_digests().get(name) != digest:
            return f"there is no recipe {name} of digest {digest}"
    if golden.kind == "observed":
        where = (golden.device_key, golden.stack, *place)
        path = observed_path(*where, root=root, recipes=golden.recipes)
    else:
        path = truth_path(*place, golden.model, root, golden.recipes)
    return "" if path == Path(golden.path) else f"its place is {path.relative_to(root)}"


def _recipes_of(golden: Golden) -> dict[str, str]:
    """The recipes that a golden was made for, by name; an observed one may only have the digest."""
    return dict(golden.recipes) or {recipe_called(digest): digest for digest in golden.digests}


def _is_measured(metric: str) -> bool:
    """Whether the probes' code names a metric, or puts such a name together."""
    texts, patterns = _names()
    return metric in texts or any(pattern.fullmatch(metric) for pattern in patterns)


@cache
def _names() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """Every text in the probes' code, and a pattern for each that is put together. They are read,
    not imported: what they import is the measuring world's."""
    texts: set[str] = set()
    patterns: set[str] = set()
    for path in PROBES.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                patterns.update(_pattern(node))
    # Compiled once: there are more than re keeps by itself.
    return frozenset(texts), tuple(re.compile(pattern) for pattern in sorted(patterns))


def _pattern(node: ast.JoinedStr) -> Iterator[str]:
    texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
    if sum(len(text) for text in texts if text) >= LEAST_LETTERS:
        yield "".join(".+" if text is None else re.escape(text) for text in texts)
