"""What is judged of each family, from records: `python -m suites.write_families DIR...`.

DIR: a folder of records of a tiny model, as `harness run --model tiny:FAMILY@SIZE --max-steps 4
--out DIR` leaves it. Of a family whose oracle declares what is known of it, golden/expected/ is
written first. What it says is kept, sealed, in golden/families/, one file a model; without a
folder only the table is written anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.judgement import facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.records.folders import GOLDEN
from harness.records.record import RUNGS, Record, read_records
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build
from suites.family_files import files_of, naming
from suites.write_expected import write_expected

SHOWN = GOLDEN / "families"
MEND = "measure it again and write it with `python -m suites.write_families`"
JUDGED = RUNGS[2:13]
# History: 1 (2026-11) first format; files of that day have no number.
FAMILY_SCHEMA = 1
HEAD = """\
# Families and what is judged of each

Written by `python -m suites.write_families` from records of tiny models with random weights, every
special part of the family alive; a test keeps it so. Each rung: values held against truths of the
family's own oracle, and in brackets those that the stack's list knows to be wrong, each with its
reason in `golden/expected/`. Measure one with
`harness run --model tiny:FAMILY@SIZE --max-steps 4`.

"""


BROUGHT = """
## What bringing each took

A family's own files, and all other code under `harness/` and `suites/` that names it: its name, its
title or its class of transformers. What is generated names it too: its rows above, its list in
`golden/expected/` where its oracle declares what is known (`KNOWN`). So do the libraries' changes,
known or planted: they come with releases that are compared, and bringing a family takes none. Ways
in which several families cut pictures or spell texts, or have a tower, lie beside them and name
none.
"""
FEW = 3
ROOT = GOLDEN.parent


@dataclass(frozen=True)
class Row:
    """One model. judged, known, unexpected: values by rung."""

    model: str
    family: str
    title: str
    special: str
    stack: str
    transformers: str
    judged: Mapping[str, int]
    known: Mapping[str, int]
    unexpected: Mapping[str, int]
    schema: int = FAMILY_SCHEMA


def row_of(folder: Path) -> Row:
    """What a folder's records say of their model."""
    records = read_records(folder)
    facts = facts_of(records)
    expected = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
    goldens, place = goldens_for(folder), records["model"].provenance
    judged, known, unexpected = {}, {}, {}
    for rung in (rung for rung in JUDGED if rung in records):
        judgement = judge({rung: records[rung]}, goldens, expected, facts)
        items = [item for item in judgement.items if item.kind == "truth"]
        judged[rung] = len(items)
        known[rung] = sum(item.known for item in items)
        unexpected[rung] = len(judgement.red)
    title, special = _named(records["model"])
    release = dict(place.versions)["transformers"]
    named = (place.model, place.family, title, special, facts.stack_name, release)
    return Row(*named, judged, known, unexpected)


def _named(record: Record) -> tuple[str, str]:
    """A family's title, and what is special about it."""
    (metric,) = (m for m in record.metrics if m.name == "family")
    return str(metric.value), metric.note or ""


def path_of(row: Row, root: Path = SHOWN) -> Path:
    """Where a model's row lies."""
    return root / f"{re.sub(r'[^a-z0-9_]+', '-', row.model.removeprefix('tiny:'))}.json"


def rows(root: Path = SHOWN) -> Iterator[Row]:
    """Every row that is kept, by model."""
    for path in sorted(root.glob("*.json")):
        yield build(Row, read_sealed(path, MEND))


def table(kept: Sequence[Row]) -> str:
    """The page."""
    lines = [f"| model | special | stack | {' | '.join(JUDGED)} |"]
    lines.append("|---" * (3 + len(JUDGED)) + "|")
    for row in kept:
        counts = [_count(row, rung) for rung in JUDGED]
        stack = f"{row.stack} (transformers {row.transformers})"
        named = f"{row.title}<br>`{row.model}`"
        lines.append(f"| {named} | {row.special} | {stack} | {' | '.join(counts)} |")
    return HEAD + "\n".join([*lines, *_brought(sorted({row.family for row in kept}))]) + "\n"


def _brought(names: Sequence[str]) -> Iterator[str]:
    """Lines of the second table: what was written for each family."""
    yield BROUGHT
    yield "| family | its own files | others that name it |"
    yield "|---|---|---|"
    for name in names:
        own = ", ".join(f"`{path}`" for path in files_of(ROOT, name))
        others = naming(ROOT, name)
        named = ", ".join(f"`{path}`" for path in others) or "none"
        yield f"| {name} | {own} | {named if len(others) <= FEW else 'more than three'} |"


def _count(row: Row, rung: str) -> str:
    if rung not in row.judged:
        return "not run"
    unexpected = f", **{row.unexpected[rung]} unexpected**" if row.unexpected[rung] else ""
    known = f" ({row.known[rung]})" if row.known[rung] else ""
    return f"{row.judged[rung]}{known}{unexpected}"


def main(folders: Sequence[str]) -> None:
    """Write the lists of the families that declare theirs, keep a row for each folder, then write
    the page."""
    measured = [*map(Path, folders)]
    write_expected(measured)
    for row in map(row_of, measured):
        write_sealed(path_of(row), asdict(row))
    (SHOWN / "README.md").write_text(table([*rows()]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
