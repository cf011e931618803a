"""The committed matrix is what its document says, of what its file asks."""

from __future__ import annotations

import itertools

from harness.judging.matrix.kept import State
from harness.judging.matrix.spec import read_asked, spec_of
from harness.judging.matrix.table import read_table
from harness.judging.report.matrix.names import stack_names
from harness.judging.report.matrix.spans import spans
from suites.selftest.matrices import FAMILIES, MINORS, matrix
from suites.write_matrix import SHOWN, page


def test_the_readme_is_made_of_the_document() -> None:
    assert (SHOWN / "README.md").read_text(encoding="utf-8") == page(read_table(SHOWN))


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
