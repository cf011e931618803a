"""The committed matrix is what its document says, of what its file asks."""

from __future__ import annotations

import itertools
from dataclasses import replace

from harness.judging.matrix.kept import State
from harness.judging.matrix.spec import read_asked, spec_of
from harness.judging.matrix.table import CellEntry, Table, read_table
from harness.judging.report.matrix.names import stack_names
from harness.judging.report.matrix.spans import spans
from suites.matrix_boundaries import Releases, boundaries, final
from suites.selftest.matrices import FAMILIES, MINORS, entry, matrix, wrong
from suites.write_matrix import SHOWN, committed, page, pages


def test_the_pages_are_made_of_the_document() -> None:
    written = dict(pages(read_table(SHOWN)))
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, path
    assert set(SHOWN.glob("*.md")) == set(written)


def test_the_readme_is_a_line_a_release_and_a_family() -> None:
    """A newcomer reads when a family was first right; the rest is on the family's page."""
    text = page(matrix())
    grid = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(grid) == 1 + len(MINORS)
    by_release = {line.split("|")[1].strip(): line.split("|")[2:] for line in grid}
    families = [word.strip() for word in by_release["transformers"]]
    assert families[FAMILIES.index("gemma3")] == "[gemma3](gemma3.md)"
    assert by_release["4.45.1"][FAMILIES.index("qwen3_vl")].strip() == "–"
    assert by_release["4.45.1"][FAMILIES.index("gemma3")].strip() == "✓"
    assert by_release["4.47.1"][FAMILIES.index("gemma3")].strip() == "✗ forward"
    since = [line for line in text.splitlines() if line.startswith("- [")]
    assert len(since) == len(FAMILIES)
    # What is not measured is said.
    assert "*Not run*: transformers 4.45.2, " in text
    assert "[Which release brought a fault, and which took it away](boundaries.md)" in text
    assert len(text.splitlines()) < 80


def test_a_committed_value_is_short() -> None:
    long = wrong("inputs", name="positions.left")
    cell = replace(entry("latest", "gemma3", 0, ""), page="pages/a.html")
    cell = replace(cell, wrong=(replace(long, value="9" * 400, truth=[7] * 99),))
    (kept,) = committed(replace(matrix(), cells=(cell,))).cells
    assert kept.page == ""
    assert all(len(str(value)) < 130 for value in (kept.wrong[0].value, kept.wrong[0].truth))
    short = replace(cell, wrong=(long,))
    assert committed(replace(matrix(), cells=(short,))).cells[0].wrong == (long,)


def test_the_document_answers_what_the_file_asks() -> None:
    asked, table = spec_of(read_asked(SHOWN / "matrix.toml")), read_table(SHOWN)
    assert (table.stacks, table.models, table.rungs) == (asked.stacks, asked.models, asked.rungs)
    assert len(table.cells) == len(asked.stacks) * len(asked.models)
    # Nothing of it is left open: what could not be measured is no table.
    assert {cell.state for cell in table.cells} <= {State.MEASURED, State.NOT_RUN}
    assert all(cell.measured for cell in table.cells if cell.state is State.MEASURED)


def test_spans_cover_a_row_from_left_to_right() -> None:
    table = matrix()
    names = stack_names(table.stacks)
    for row in table.rows:
        told = spans(row, names)
        assert told[0].first == f"transformers {MINORS[0]}"
        assert told[-1].last == f"transformers {MINORS[-1]}"
        for one, other in itertools.pairwise(told):
            assert (one.word, one.why) != (other.word, other.why)
    row = table.rows[FAMILIES.index("qwen3_vl")]
    first = spans(row, names)[0]
    needs = "does not run on transformers 4.45.1 (The family needs transformers>=5.2.0.)"
    assert first.sentence == needs
    second = spans(row, names)[1].sentence
    assert second.startswith("rightly transformers 4.46.3 to ")


RELEASES = Releases(
    "2026-11-30",
    {"5.9.0": "2026-05-20", "5.10.0": "2026-06-01", "5.10.1": "2026-06-02", "5.11.0": "2026-06-09"},
)


def of_release(release: str, *rungs: str, rung: str = "forward", known: bool = False) -> CellEntry:
    """A measured cell, wrong at these rungs."""
    stack = f"latest,transformers=={release}"
    cell = replace(entry(stack, "gemma4", 0, ""), state=State.MEASURED)
    return replace(cell, wrong=tuple(replace(wrong(one), known=known) for one in rungs))


def one_row(*cells: CellEntry, rungs: tuple[str, ...] = ("forward", "update")) -> Table:
    stacks = tuple(cell.stack for cell in cells)
    return replace(matrix(), stacks=stacks, rungs=rungs, cells=cells)


def test_a_boundary_is_exact_where_no_release_lies_between() -> None:
    columns = one_row(of_release("5.9.0", "forward"), of_release("5.11.0"))
    (wide,) = boundaries([columns], RELEASES)
    assert (wide.before, wide.after, wide.begins, wide.exact) == ("5.9.0", "5.11.0", False, False)
    assert "| after 5.9.0, by 5.11.0 (2026-06-09) | ends |" in wide.line(RELEASES.days)
    between = one_row(of_release("5.10.0", "forward"), of_release("5.10.1"), rungs=("forward",))
    (exact,) = boundaries([columns, between], RELEASES)
    assert (exact.before, exact.after, exact.exact) == ("5.10.0", "5.10.1", True)
    assert "| 5.10.1 (2026-06-02) | ends |" in exact.line(RELEASES.days)


def test_a_release_says_nothing_of_a_rung_that_was_not_measured_on_it() -> None:
    columns = one_row(of_release("5.9.0"), of_release("5.11.0", "update"))
    between = one_row(of_release("5.10.0"), rungs=("forward",))
    (wide,) = boundaries([columns, between], RELEASES)
    assert (wide.before, wide.after, wide.begins) == ("5.9.0", "5.11.0", True)


def test_what_is_listed_is_no_boundary_and_families_share_one() -> None:
    listed = one_row(of_release("5.9.0", "forward", known=True), of_release("5.10.0"))
    assert boundaries([listed], RELEASES) == ()
    cells = [of_release("5.9.0", "forward"), of_release("5.10.0")]
    twins = [replace(cell, model="tiny:gemma3") for cell in cells]
    (shared,) = boundaries([one_row(*cells, *twins)], RELEASES)
    assert set(shared.families) == {"gemma3", "gemma4"}


def test_the_last_of_every_minor_is_asked_for() -> None:
    assert RELEASES.last_of_minors("5.10.0") == ("5.10.1", "5.11.0")
    days = {"5.9.0": "2026-05-20", "5.10.0rc1": "2026-05-30", "5.10.0": "2026-06-01"}
    assert dict(final(days, frozenset({"5.9.0"}))) == {"5.10.0": "2026-06-01"}
