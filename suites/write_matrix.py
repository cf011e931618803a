"""Write the committed matrix: `python -m suites.write_matrix [FOLDER]`.

FOLDER: of a `harness matrix golden/matrix/matrix.toml`; its document, sealed, becomes
golden/matrix/matrix.json. Without one only the pages beside it are written anew: README.md, and one
for every family.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Table, read_table, write_table
from harness.judging.report.ci.markdown import cell as escaped
from harness.judging.report.html.values import text_of
from harness.judging.report.matrix.markdown import (
    LEGEND,
    grid,
    measured_on,
    row_details,
    since,
    timelines_of,
)
from harness.judging.report.matrix.names import (
    against_truth,
    model_name,
    names_of,
    stack_names,
)
from harness.judging.report.matrix.spans import Span, spans
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed
from harness.records.typed import Json, build

SHOWN = GOLDEN / "matrix"
# The last final release of every minor since the first family's, as of 2026-11-29.
LAST = (
    "4.45.2",
    "4.46.3",
    "4.47.1",
    "4.48.3",
    "4.49.0",
    "4.50.3",
    "4.51.3",
    "4.52.4",
    "4.53.3",
    "4.54.1",
    "4.55.4",
    "4.56.2",
    "4.57.6",
    "5.0.0",
    "5.1.0",
    "5.2.0",
    "5.3.0",
    "5.4.0",
    "5.5.4",
    "5.6.2",
    "5.7.0",
    "5.8.1",
    "5.9.0",
    "5.10.4",
    "5.11.0",
    "5.12.1",
    "5.13.1",
    "5.14.1",
    "5.15.1",
    "5.16.1",
    "5.17.0",
    "5.18.0",
    "5.19.0",
    "5.20.2",
    "5.21.1",
    "5.22.2",
    "5.23.0",
    "5.24.0",
)
PACKAGES = ("trl", "peft", "accelerate", "torch")
TAKEN_OUT = (
    "5.0.0 was measured and is taken out: on the meta device the harness left heads untied, and "
    "blamed the library for counts and bytes (mended, not measured again)."
)
# Of a value in the committed document; the records have it whole.
MOST_OF_A_VALUE = 120
TIME = "time.json"
BISECTED = "boundaries.json"
TIME_SCHEMA = 1
MEND = "measure the matrix again and write how long it took"


@dataclass(frozen=True)
class Took:
    """How long a matrix took. cells: all of it. ran: those that ran, each on one thread.
    cpu_seconds: of all processes together. load: how many processes wanted a core, cores: how many
    there were. again_seconds: wall time of the same command when all was kept."""

    cells: int
    ran: int
    cpu_seconds: float
    cores: int
    load: str
    again_seconds: float
    measured: str
    schema: int = TIME_SCHEMA

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.cells} cells, {self.ran} of which ran, took {self.cpu_seconds / 60:.0f} "
            f"minutes of CPU time, {self.cpu_seconds / self.ran:.0f} s for one that ran, on "
            f"{self.cores} cores beside other work (load {self.load}: their wall time says "
            f"nothing); the same command again took {self.again_seconds:.0f} s."
        )


@dataclass(frozen=True)
class Boundary:
    """Where a finding ends, or begins. family: one, or several with commas. wrong, right: final
    releases of transformers with and without it, and none between them. released: the day of the
    newer one."""

    family: str
    finding: str
    wrong: str
    right: str
    released: str

    @property
    def sentence(self) -> str:
        """For people."""
        newer = max(self.wrong, self.right, key=Version)
        word = "ends with" if newer == self.right else "begins with"
        return (
            f"- {escaped(self.family)}: `{self.finding}` {word} {newer} ({self.released}); "
            f"wrong on {self.wrong}, right on {self.right}"
        )


@dataclass(frozen=True)
class Boundaries:
    """All of them, by hand from the records of both sides."""

    exact: tuple[Boundary, ...]
    schema: int = TIME_SCHEMA


def boundaries() -> tuple[Boundary, ...]:
    """As they are kept."""
    return build(Boundaries, read_sealed(SHOWN / BISECTED, MEND)).exact


def took() -> Took:
    """As it was written by hand from `/usr/bin/time`."""
    return build(Took, read_sealed(SHOWN / TIME, MEND))


HEAD = """\
# Which releases of transformers train which family

Every family's tiny model (random weights, every special part alive), rungs 1 to 10 on a CPU, on the
last release of each minor of transformers with the newest of the other libraries that resolve with
it, held against independent truths. Written by `python -m suites.write_matrix` from a
`harness matrix golden/matrix/matrix.toml`; a test keeps it so.

"""
READ = """\
◐ nothing unexpected: what is wrong is wrong on the newest release too, known, with its reason, in
`golden/expected/` (✓ would be nothing at all). ✗ the first rung that misses a truth as nobody has
listed, +1: another one does too. – the family is not in that release.
"""


def page(table: Table) -> str:
    """The README: since when, then a line a release."""
    lines = [*_answers(table), "", *_grid(table), "", READ, *_lacking(table), "", took().sentence]
    return HEAD + "\n".join(lines) + "\n"


def _answers(table: Table) -> Iterator[str]:
    yield f"**{escaped(table.headline)}**"
    yield ""
    yield f"Measured {measured_on(table)} on {_devices(table)}, by harness {table.harness}."
    yield from ("", "Since when:", "")
    names = names_of(table)
    for row in table.rows:
        name = model_name(row[0].model)
        told = "; ".join(_without_reason(span).sentence for span in spans(row, names))
        yield f"- [{escaped(name)}]({name}.md): {escaped(told)}"


def _without_reason(span: Span) -> Span:
    """Why a family is not in a release needs no words here; its own page has them."""
    return replace(span, why=()) if span.word == "does not run" else span


def _devices(table: Table) -> str:
    return ", ".join(sorted({cell.device_key for cell in table.cells if cell.device_key}))


def _families(table: Table) -> tuple[str, ...]:
    return tuple(map(model_name, table.models))


def _grid(table: Table) -> Iterator[str]:
    heads = [f"[{escaped(name)}]({name}.md)" for name in _families(table)]
    libraries = [name for name in PACKAGES if len(_releases(table, name)) > 1]
    yield f"| transformers | {' | '.join(heads + libraries)} |"
    yield "|---" * (len(heads) + len(libraries) + 1) + "|"
    cells = {(cell.stack, cell.model): cell for cell in table.cells}
    for label, name in stack_names(table.stacks).items():
        row = [cells[label, model] for model in table.models]
        versions = next((cell.versions for cell in row if cell.versions), {})
        words = [_word(cell) for cell in row] + [versions.get(one, "") for one in libraries]
        yield f"| {name.removeprefix('transformers ')} | {' | '.join(words)} |"
    same = [f"{name} {one}" for name in PACKAGES for one in _releases(table, name)]
    same = [words for words in same if words.partition(" ")[0] not in libraries]
    if same:
        yield from ("", f"Throughout: {', '.join(same)}.")


def _releases(table: Table, package: str) -> set[str]:
    return {cell.versions[package] for cell in table.cells if package in cell.versions}


def _word(cell: CellEntry) -> str:
    if cell.state is State.NOT_RUN:
        return "–"
    told = against_truth(cell)
    return told.symbol if told.symbol in "✓◐" else f"{told.symbol} {escaped(told.word)}"


def _lacking(table: Table) -> Iterator[str]:
    shown = {name.removeprefix("transformers ") for name in stack_names(table.stacks).values()}
    lacking = [release for release in LAST if release not in shown]
    if lacking:
        yield f"*Not run*: transformers {', '.join(lacking)}. {TAKEN_OUT}"
    exact = [boundary.sentence for boundary in boundaries()]
    if exact:
        yield from (
            "",
            "Exact releases: both sides were measured, and no release lies between them; records "
            "of releases that have no line here are not committed:",
            "",
        )
        yield from exact
    which = "Every other" if exact else "Each"
    yield from ("", f"{which} step lies somewhere between two lines: *not bisected*.")


def family_page(table: Table, model: str) -> str:
    """What a family's row says, finding by finding."""
    own = replace(
        table,
        models=(model,),
        cells=tuple(cell for cell in table.cells if cell.model == model),
        timelines=tuple(line for line in table.timelines if line.model == model),
    )
    name = escaped(model_name(model))
    lines = [f"# {name} over the releases of transformers", "", "[All families](README.md)", ""]
    lines += [*since(own), "", *grid(own), "", LEGEND]
    for row in own.rows:
        lines += row_details(row, own)
    return "\n".join([*lines, *timelines_of(own)]) + "\n"


def pages(table: Table) -> Iterator[tuple[Path, str]]:
    """Every page with its text."""
    yield SHOWN / "README.md", page(table)
    for model in table.models:
        yield SHOWN / f"{model_name(model)}.md", family_page(table, model)


def committed(table: Table) -> Table:
    """A matrix without what is not committed: pages of comparisons, the rest of long values."""
    return replace(table, cells=tuple(map(_committed, table.cells)))


def _committed(cell: CellEntry) -> CellEntry:
    wrong = (replace(w, truth=_short(w.truth), value=_short(w.value)) for w in cell.wrong)
    moved = (replace(m, old=_short(m.old), new=_short(m.new)) for m in cell.moved)
    return replace(cell, page="", wrong=tuple(wrong), moved=tuple(moved))


def _short(value: Json) -> Json:
    """A value, or how it begins where its JSON is long."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = text_of(value, limit=MOST_OF_A_VALUE)
    return value if len(text) < MOST_OF_A_VALUE - 20 else text


def main(words: Sequence[str]) -> int:
    """Write the document where there is a new one, and the pages."""
    if words:
        write_table(committed(read_table(Path(words[0]))), SHOWN)
    for path, text in pages(read_table(SHOWN)):
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
