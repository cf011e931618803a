"""The matrix itself: stacks across, families down, each cell a link to what it says."""

from __future__ import annotations

from harness.judging.matrix.table import CellEntry, Table, is_training
from harness.judging.report.html.markup import Child, Html, join, tag
from harness.judging.report.matrix.names import (
    Told,
    against_left,
    against_truth,
    column_names,
    row_name,
    stack_names,
)


def anchor(cell: CellEntry) -> str:
    """Where the page says what a cell says."""
    return f"cell-{cell.key}"


def is_plain(cell: CellEntry) -> bool:
    """Whether a cell is right and the same: there is no more to say."""
    return not (cell.wrong or cell.moved or cell.reason or cell.calls) and bool(cell.right)


def _rows_are(table: Table) -> str:
    """What the rows of a matrix are called together."""
    own = sum(map(is_training, table.models))
    return "Training" if own == len(table.models) else "Family or training" if own else "Family"


def grid(table: Table) -> Html:
    """The table in a box that scrolls sideways, its row names always in sight."""
    names = stack_names(table.stacks)
    package, columns = column_names([names[label] for label in table.stacks])
    heads = [tag("th", name, scope="col") for name in columns]
    caption = "Stacks from left to right, each against the truths and against the one before"
    if package:
        caption = f"{package} by release, " + caption[0].lower() + caption[1:]
    body = []
    for row in table.rows:
        by_stack = {cell.stack: cell for cell in row}
        cells = [_cell(by_stack[label], names[label]) for label in table.stacks]
        body.append(tag("tr", tag("th", row_name(row[0], table), scope="row"), *cells))
    whole = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", tag("th", _rows_are(table), scope="col"), *heads)),
        tag("tbody", *body),
        class_="cells",
    )
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(cell: CellEntry, stack: str) -> Html:
    truth, left = against_truth(cell), against_left(cell)
    parts: list[Child] = [_word(truth)]
    if left is not None:
        parts.append(_word(left))
    target = "right" if is_plain(cell) else anchor(cell)
    title = f"{cell.model} on {stack}"
    return tag("td", tag("a", *parts, href=f"#{target}", title=title), class_=truth.tone)


def _word(told: Told) -> Html:
    symbol = tag("span", told.symbol, aria_hidden="true")
    return tag("span", join([symbol, " ", told.word]), class_=f"word {told.tone}")
