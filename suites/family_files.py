"""Which files bring a family, on whose oracle its own stands, and which other files name it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from harness.measuring.models import families, family
from harness.records.folders import REGISTER

# A longer one's parts lie beside it, called like it.
PLACES = (("harness/measuring/models", "_{}_*.py"), ("suites/oracles", "{}_*.py"))
SEARCHED = ("harness", "suites")
KINDS = {".py", ".toml", ".in"}
# The register, and what it and the judge are tried with.
CHANGES = {REGISTER.name, "faults"}


def files_of(root: Path, name: str) -> list[Path]:
    """What bringing a family takes, below a root."""
    own = []
    for folder, parts in PLACES:
        there = root / folder
        own += [there / f"{name}.py", *there.glob(parts.format(name)), *there.glob(f"_{name}.py")]
    return sorted(path.relative_to(root) for path in own)


def stands_on(root: Path, name: str) -> list[str]:
    """Families whose files its own import: but for what its publication changed it is theirs."""
    imported = set()
    for path in files_of(root, name):
        for node in ast.walk(ast.parse((root / path).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported |= {*(node.module or "").split("."), *(a.name for a in node.names)}
    others = [other for other in families() if other != name]
    shown = [o for o in others if any(re.fullmatch(rf"_?{o}(_\w+)?", each) for each in imported)]
    return sorted({*shown, *(deeper for o in shown for deeper in stands_on(root, o))})


def naming(root: Path, name: str) -> list[Path]:
    """Files of harness/ and suites/ but its own that name it: its name, its title or its class.
    What libraries changed, known or planted, is told of families that are there: it brings none.
    """
    facts = family(name)
    words = "|".join(map(re.escape, (name, facts.TITLE, facts.ARCHITECTURE)))
    named = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
    own = {root / path for path in files_of(root, name)}
    shown = []
    for folder in SEARCHED:
        for path in sorted((root / folder).rglob("*")):
            if path.parent.name in CHANGES or path in own or path.suffix not in KINDS:
                continue
            if named.search(path.read_text("utf-8")):
                shown.append(path.relative_to(root))
    return shown
