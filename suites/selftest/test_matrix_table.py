"""The committed matrix is what its document says, of what its file asks."""

from __future__ import annotations

import itertools
from dataclasses import replace

from harness.judging.matrix.kept import State
from harness.judging.matrix.spec import read_asked, spec_of
from harness.judging.matrix.table import read_table
from harness.judging.report.matrix.names import stack_names
from harness.judging.report.matrix.spans import spans
from suites.selftest.matrices import FAMILIES, MINORS, entry, matrix, wrong
from suites.write_matrix import SHOWN, Boundary, committed, page, pages


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
    assert "*Not run*: transformers 4.45.2, 5.4.0" in text
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


def test_a_boundary_says_which_release_brought_it() -> None:
    ends = Boundary("gemma4", "forward.plain_loss.left", "5.9.0", "5.10.1", "2026-06-01")
    assert "ends with 5.10.1 (2026-06-01)" in ends.sentence
    begins = Boundary("gemma4", "forward.plain_loss.left", "5.10.1", "5.9.0", "2026-06-01")
    assert "begins with 5.10.1 (2026-06-01)" in begins.sentence
