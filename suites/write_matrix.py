"""Write the committed matrix: `python -m suites.write_matrix [FOLDER [BETWEEN]]`.

FOLDER: of a `harness matrix golden/matrix/matrix.toml`; its document, sealed, becomes
golden/matrix/matrix.json. BETWEEN: of a `harness matrix golden/matrix/between.toml`, which looks
for the releases between its columns that brought what moved. With a folder the index is asked for
all releases, too. Without one only the pages beside the documents are written anew: README.md,
boundaries.md, and one for every family.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.judging.environments.releases import published, released
from harness.judging.matrix.kept import State
from harness.judging.matrix.spec import family_names
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
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Json, build
from suites.matrix_boundaries import PACKAGE, RELEASES, Releases, final, releases
from suites.matrix_boundaries import page as boundaries_page

SHOWN = GOLDEN / "matrix"
BETWEEN = SHOWN / "between"
# The first family's first release.
FIRST = "4.45.0"
PACKAGES = ("trl", "peft", "accelerate", "torch")
# Of a value in the committed document; the records have it whole.
MOST_OF_A_VALUE = 120
TIME = "time.json"
TIME_SCHEMA = 3
MEND = "measure the matrix again and write how long it took"


@dataclass(frozen=True)
class Took:
    """How long a matrix took. stacks, models, rungs: how many. minutes: wall time with every
    environment built. cores: as many cells at once. beside: what else the machine did.
    again_seconds: wall time of the same command when all was kept; again_beside: as beside.
    engines: milliseconds that each engine adds to a cell, of a thousand that take no time, eight at
    once; engines_beside: as beside. checkout_seconds: of a checkout's comparison with a release;
    checkout: of what, and as beside."""

    stacks: int
    models: int
    rungs: int
    minutes: float
    cores: int
    beside: str
    again_seconds: float
    again_beside: str
    engines: Mapping[str, float]
    engines_beside: str
    checkout_seconds: float
    checkout: str
    measured: str
    schema: int = TIME_SCHEMA

    @property
    def sentence(self) -> str:
        """For people."""
        engines = ", ".join(f"{name} {ms:.0f} ms" for name, ms in self.engines.items())
        return (
            f"How long: {self.stacks} of these stacks × {self.models} families × {self.rungs} "
            f"rungs, environments built, took {self.minutes:.1f} minutes on {self.cores} cores "
            f"({self.beside}); the same command again took {self.again_seconds:.1f} s "
            f"({self.again_beside}). What an engine adds to a cell, of a thousand that take no "
            f"time, eight at once: {engines} ({self.engines_beside}). A checkout against a release "
            f"took {self.checkout_seconds:.0f} s ({self.checkout})."
        )


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
    every = releases()
    lacking = [release for release in every.last_of_minors(FIRST) if release not in shown]
    if lacking:
        yield f"*Not run*: transformers {', '.join(lacking)}."
    elif shown:
        yield f"Every minor that had a final release on {every.asked} is here."
    if others := sorted({*family_names()} - {*_families(table)}):
        yield from ("", f"*Not run* over the releases: {', '.join(map(escaped, others))}.")
    yield ""
    yield "[Which release brought a fault, and which took it away](boundaries.md)"


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
    between = [read_table(BETWEEN)] if BETWEEN.is_dir() else []
    yield SHOWN / "boundaries.md", boundaries_page([table, *between])
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


def ask_releases() -> None:
    """Keep what the index says today of every final release."""
    yanked = frozenset(str(one.version) for one in published(PACKAGE) if one.yanked)
    days = dict(final(released(PACKAGE), yanked))
    write_sealed(RELEASES, asdict(Releases(datetime.date.today().isoformat(), days)))


def main(words: Sequence[str]) -> int:
    """Write the documents where there are new ones, and the pages."""
    for folder, kept in zip(words, (SHOWN, BETWEEN), strict=False):
        kept.mkdir(exist_ok=True)
        write_table(committed(read_table(Path(folder))), kept)
    if words:
        ask_releases()
    for path, text in pages(read_table(SHOWN)):
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
