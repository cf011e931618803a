"""A matrix as Markdown: the table, then what every cell says that is not right and the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.judging.matrix.table import CellEntry, Table, Timeline
from harness.judging.report.ci.markdown import cell as escaped
from harness.judging.report.ci.markdown import code
from harness.judging.report.html.values import text_of
from harness.judging.report.matrix.names import (
    against_left,
    against_truth,
    row_name,
    stack_names,
)
from harness.judging.report.matrix.spans import spans
from harness.judging.report.matrix.timelines import step_words, title

# Of one cell; the document has all.
MOST = 6


def markdown(table: Table) -> str:
    """The whole matrix."""
    names = stack_names(table.stacks)
    days = sorted({cell.measured for cell in table.cells if cell.measured})
    lines = [f"**{escaped(table.headline)}**", ""]
    if days:
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        rungs = ", ".join(table.rungs)
        lines += [escaped(f"Measured {span}, rungs {rungs}, harness {table.harness}."), ""]
    lines += [f"| | {' | '.join(escaped(names[label]) for label in table.stacks)} |"]
    lines += ["|---" * (len(table.stacks) + 1) + "|"]
    for row in table.rows:
        by_stack = {cell.stack: cell for cell in row}
        shown = [_shown(by_stack[label]) for label in table.stacks]
        lines.append(f"| {escaped(row_name(row[0], table))} | {' | '.join(shown)} |")
    lines += [
        "",
        "✓ right, ✗ the first rung that is wrong against the truth, ≠ the first that moved "
        "against the nearest measured stack to the left, = the same, ○ not measured.",
    ]
    lines += ["", "Since when, by what misses a truth as no list of findings has it:", ""]
    for row in table.rows:
        told = "; ".join(span.sentence for span in spans(row, names))
        lines.append(f"- **{escaped(row_name(row[0], table))}**: {escaped(told)}")
    for cell in table.cells:
        lines += _told(cell, table)
    for line in table.timelines:
        lines += _steps(line, names)
    return "\n".join(lines) + "\n"


def _shown(cell: CellEntry) -> str:
    truth, left = against_truth(cell), against_left(cell)
    told = f"{truth.symbol} {escaped(truth.word)}"
    return told if left is None else f"{told} {left.symbol} {escaped(left.word)}"


def _told(cell: CellEntry, table: Table) -> Iterator[str]:
    if not (cell.wrong or cell.moved or cell.reason or cell.calls):
        return
    yield f"\n### {escaped(row_name(cell, table))} on {escaped(cell.stack)}\n"
    if cell.reason:
        yield f"- {cell.state.value}: {escaped(cell.reason)}"
    for wrong in sorted(cell.wrong, key=lambda wrong: wrong.known)[:MOST]:
        value = wrong.error or f"{text_of(wrong.value)}, truth {text_of(wrong.truth)}"
        why = f" ({escaped(wrong.reason)})" if wrong.reason else ""
        known = ", known" if wrong.known else ""
        yield f"- ✗ `{code(wrong.finding)}`{known}: {escaped(value)}{why}"
    if len(cell.wrong) > MOST:
        yield f"- and {len(cell.wrong) - MOST} more that are wrong"
    for moved in cell.moved[:MOST]:
        known = ", ".join(f"`{code(name)}`" for name in moved.changes) or "no known change"
        values = f"{text_of(moved.old)} → {text_of(moved.new)}"
        yield f"- ≠ `{code(moved.finding)}` since {escaped(cell.left)}: {escaped(values)}; {known}"
    if len(cell.moved) > MOST:
        yield f"- and {len(cell.moved) - MOST} more that moved"
    if cell.calls:
        yield f"- {len(cell.calls)} calls of the recipe broke"


def _steps(line: Timeline, names: Mapping[str, str]) -> Iterator[str]:
    yield f"\n### {escaped(title(line))}\n"
    if not line.steps:
        yield "No step."
    for step in line.steps:
        where = f"{escaped(names[step.before])} → {escaped(names[step.after])}"
        values = f"{text_of(step.old, line.unit)} → {text_of(step.new, line.unit)}"
        yield f"- {where}: {escaped(values)}; {escaped(step_words(step))}"
