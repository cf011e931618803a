"""The page of a matrix, and all that is written beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.judging.compare.comparison import Comparison
from harness.judging.matrix.table import CellEntry, Table, write_table
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Child, Html, join, limited, rows, tag
from harness.judging.report.html.sections import section, stale_accepts
from harness.judging.report.html.values import text_of
from harness.judging.report.matrix.cards import card
from harness.judging.report.matrix.findings import lasting
from harness.judging.report.matrix.grid import grid, is_plain
from harness.judging.report.matrix.markdown import markdown
from harness.judging.report.matrix.names import names_of, row_name
from harness.judging.report.matrix.spans import spans
from harness.judging.report.matrix.timelines import timelines
from harness.judging.report.upgrade.page import comparison_page
from harness.records.files import write_atomically

TONES = {0: "good", 1: "bad", 3: "missing"}


def draw(comparison: Comparison) -> bytes:
    """The page of a comparison of two cells."""
    return comparison_page(comparison).encode("utf-8")


def matrix_page(table: Table) -> Html:
    """The whole page."""
    contents = [("matrix", "The matrix"), ("cells", "Cells"), ("right", "Right and the same")]
    contents += [("timelines", "Timelines")] if table.timelines else []
    return document(
        f"Matrix: {table.headline}",
        _front(table),
        (*contents, ("method", "How to read it")),
        section("matrix", "The matrix", grid(table), _since(table)),
        stale_accepts(table.stale_accepts),
        _cells(table),
        _plain(table),
        timelines(table),
        _method(table),
    )


def _front(table: Table) -> Html:
    days = sorted({cell.measured for cell in table.cells if cell.measured})
    span = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "not measured"
    where = f"{table.size} · {span} · rungs {', '.join(table.rungs)} · "
    where += f"recipe {', '.join(table.recipes)} · {', '.join(table.devices)}"
    heading = tag("h1", table.answer)
    tone = TONES.get(table.exit_code, "missing")
    return join(
        [
            tag("p", "Matrix", class_="eyebrow"),
            tag("div", heading, tag("p", where), class_=f"verdict {tone}"),
        ]
    )


def _since(table: Table) -> Html:
    names = names_of(table)
    items = [
        tag("li", tag("b", row_name(row[0], table)), ": ", _told(row, names)) for row in table.rows
    ]
    return tag("ul", *items)


def _told(row: tuple[CellEntry, ...], names: dict[str, str]) -> str:
    return "; ".join(span.sentence for span in spans(row, names)) + "."


def _cells(table: Table) -> Html:
    parts: list[Child] = []
    for row in table.rows:
        by_stack = {cell.stack: cell for cell in row}
        cards = [card(cell, by_stack.get(cell.left), table) for cell in row if not is_plain(cell)]
        if cards:
            parts += [tag("h3", row_name(row[0], table)), *_lasting(row, table), *cards]
    lead = (
        "Row by row: what is wrong on which stacks, then what every cell says that is not right "
        "and the same, from left to right."
    )
    if not parts:
        lead = "Every cell is right, and the same as the one before."
    return section("cells", "Cells", tag("p", lead, class_="soft"), *parts)


def _lasting(row: Sequence[CellEntry], table: Table) -> Iterator[Html]:
    """What a row's values miss, and where, as somebody has listed it or nobody has."""
    names = names_of(table)
    for known, caption in ((False, "Wrong as nobody has listed"), (True, "Wrong as listed")):
        body = [
            (
                join([tag("code", each.first.finding), _more(each.cases)]),
                each.where,
                # Narrow, so that why it is wrong has room.
                limited(each.first.error or text_of(each.first.value, limit=50), 120),
                text_of(each.first.truth, limit=50),
                limited(each.first.reason, 240),
            )
            for each in lasting(row, names, known=known)
        ]
        if body:
            yield rows(caption, ("Value", "On", "There", "Truth", "Why"), body)


def _more(cases: int) -> str:
    return f" and {cases - 1} more" if cases > 1 else ""


def _plain(table: Table) -> Html:
    plain = [cell for cell in table.cells if is_plain(cell)]
    items = [tag("li", _line(cell, table)) for cell in plain]
    body = tag("ul", *items) if items else tag("p", "No cell is.", class_="soft")
    return section("right", "Right and the same", body)


def _line(cell: CellEntry, table: Table) -> str:
    same = f", {cell.same} the same as on {cell.left}" if cell.left else ""
    return f"{row_name(cell, table)} on {cell.stack}: {cell.right} values true{same}"


def _method(table: Table) -> Html:
    return section(
        "method",
        "How to read it",
        tag(
            "p",
            "Each cell is one command, `harness probe`, in its stack's own environment, on the "
            "same weights, samples and seeds. ✗ names the first rung that misses an independent "
            "truth as no list of findings has it (+1: another one misses one too), ◐ where "
            "the committed stacks' lists know all of it; ≠ the first rung that moved against the "
            "nearest measured stack to the left, in amber where the register of known changes "
            "explains all of it. "
            "Calls of rungs 0 and 1 that a release took away are counted in the cell and are no "
            "wrong value. Causes are not established between cells; `harness compare` of two "
            "stacks does that.",
        ),
        tag("p", f"Measured by the harness {table.harness}.", class_="soft small"),
    )


def write_matrix(table: Table, out: Path) -> Path:
    """Write `matrix.json`, `matrix.md` and the page; returns the page's path."""
    write_table(table, out)
    write_atomically(out / "matrix.md", markdown(table).encode("utf-8"))
    page = out / "index.html"
    write_atomically(page, matrix_page(table).encode("utf-8"))
    return page
