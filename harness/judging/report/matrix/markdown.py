"""A matrix as Markdown: the table, since when, then row by row what is wrong where and what moved
when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from harness.judging.matrix.table import CellEntry, Table, Timeline
from harness.judging.report.ci.markdown import cell as escaped
from harness.judging.report.ci.markdown import code
from harness.judging.report.html.values import text_of
from harness.judging.report.matrix.findings import Change, Lasting, changes, lasting
from harness.judging.report.matrix.names import (
    against_left,
    against_truth,
    column_names,
    names_of,
    row_name,
    stack_names,
)
from harness.judging.report.matrix.spans import spans
from harness.judging.report.matrix.timelines import step_words, title

# More stacks than that go down, families across: a page is as long as it likes, not as wide.
ACROSS = 6
# Findings of a row and of a step; the document has all.
MOST = 40
LEGEND = (
    "✓ right, ◐ the first rung that is wrong, only as a list of findings has it with its reason, "
    "✗ the first that is wrong as nobody has listed (+1: wrong at one more), ≠ the first that "
    "moved against the nearest measured stack to the left, = the same, ○ not measured."
)


def markdown(table: Table) -> str:
    """The whole matrix."""
    lines = [f"**{escaped(table.headline)}**", ""]
    if days := measured_on(table):
        rungs = ", ".join(table.rungs)
        lines += [escaped(f"Measured {days}, rungs {rungs}, harness {table.harness}."), ""]
    lines += [*grid(table), "", LEGEND, "", *since(table)]
    for row in table.rows:
        lines += row_details(row, table)
    return "\n".join([*lines, *timelines_of(table)]) + "\n"


def measured_on(table: Table) -> str:
    """The days, '' where nothing was measured."""
    days = sorted({cell.measured for cell in table.cells if cell.measured})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


def grid(table: Table) -> Iterator[str]:
    """Stacks across, families down; the other way round where there are many stacks."""
    shown = {(cell.stack, _row(cell)): _shown(cell) for cell in table.cells}
    rows = {_row(row[0]): escaped(row_name(row[0], table)) for row in table.rows}
    names = stack_names(table.stacks)
    if len(names) <= ACROSS:
        yield from _lines("", map(escaped, names.values()))
        for row, name in rows.items():
            yield f"| {name} | {' | '.join(shown[label, row] for label in names)} |"
        return
    package, columns = column_names(list(names.values()))
    yield from _lines(escaped(package), rows.values())
    for label, name in zip(table.stacks, columns, strict=True):
        yield f"| {escaped(name)} | {' | '.join(shown[label, row] for row in rows)} |"


def _lines(first: str, heads: Iterable[str]) -> Iterator[str]:
    columns = list(heads)
    yield f"|{f' {first}' if first else ''} | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"


def _row(cell: CellEntry) -> tuple[str, str, str]:
    return cell.model, cell.recipe, cell.device


def _shown(cell: CellEntry) -> str:
    truth, left = against_truth(cell), against_left(cell)
    told = f"{truth.symbol} {escaped(truth.word)}"
    return told if left is None else f"{told} {left.symbol} {escaped(left.word)}"


def since(table: Table) -> Iterator[str]:
    """A line a row: since when it trains rightly, or wrongly by what."""
    names = names_of(table)
    yield "Since when:"
    yield ""
    for row in table.rows:
        sentence = "; ".join(span.sentence for span in spans(row, names))
        yield f"- **{escaped(row_name(row[0], table))}**: {escaped(sentence)}"


def row_details(row: Sequence[CellEntry], table: Table) -> Iterator[str]:
    """What a row says, nothing where it is right and the same throughout."""
    names = names_of(table)
    unknown, listed = (lasting(row, names, known=known) for known in (False, True))
    moved = list(changes(row, names))
    unmeasured = [cell for cell in row if cell.reason]
    calls = [cell for cell in row if cell.calls]
    if not (unknown or listed or moved or unmeasured or calls):
        return
    yield from ("", f"### {escaped(row_name(row[0], table))}")
    if unmeasured or calls:
        yield ""
    for (state, reason), cells in groupby(unmeasured, key=lambda cell: (cell.state, cell.reason)):
        yield f"- {_names(list(cells), names)}: {state.value}, {escaped(reason)}"
    if calls:
        broken = sorted({call for cell in calls for call in cell.calls})
        shown = ", ".join(f"`{code(call)}`" for call in broken)
        yield f"- Calls of the recipe that a release took away or that need a GPU: {shown}"
    yield from _wrong("Wrong as nobody has listed", unknown)
    yield from _wrong("Wrong as listed", listed)
    yield from _changes(moved)


def _names(cells: Sequence[CellEntry], names: Mapping[str, str]) -> str:
    shown = [escaped(names[cell.stack]) for cell in cells]
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}"


def _wrong(heading: str, findings: Sequence[Lasting]) -> Iterator[str]:
    if not findings:
        return
    yield ""
    yield f"{heading}:"
    yield ""
    yield from _lines("value", ["on", "there", "truth", "why"])
    for each in findings[:MOST]:
        wrong = each.first
        value = wrong.error or text_of(wrong.value)
        words = (each.where, value, text_of(wrong.truth), wrong.reason)
        count = f" and {each.cases - 1} more" if each.cases > 1 else ""
        yield f"| `{code(wrong.finding)}`{count} | {' | '.join(map(escaped, words))} |"
    if len(findings) > MOST:
        yield f"\nAnd {len(findings) - MOST} more."


def _changes(moved: Sequence[Change]) -> Iterator[str]:
    if not moved:
        return
    yield ""
    yield "What moved:"
    yield ""
    for (before, after), steps in groupby(moved, key=lambda step: (step.before, step.after)):
        lines = list(_step(list(steps)))
        lines[MOST:] = [f"and {len(lines) - MOST} metrics more"] if len(lines) > MOST else []
        yield from (f"- {escaped(before)} → {escaped(after)}: {line}" for line in lines)


def _step(changes: Sequence[Change]) -> Iterator[str]:
    """What the register knows in one line, then each metric that it does not know."""
    known = [change for change in changes if change.known]
    if known:
        entries = dict.fromkeys(name for change in known for name in change.known)
        count = sum(change.cases for change in known)
        yield f"{count} by {', '.join(f'`{code(name)}`' for name in entries)}"
    for change in changes:
        if not change.known:
            values = f"{text_of(change.first.old)} → {text_of(change.first.new)}"
            count_of = f" ({change.cases})" if change.cases > 1 else ""
            yield f"`{code(change.metric)}`{count_of}, no known change: {escaped(values)}"


def timelines_of(table: Table) -> Iterator[str]:
    """Every timeline's steps."""
    names = names_of(table)
    for line in table.timelines:
        yield from _steps(line, names)


def _steps(line: Timeline, names: Mapping[str, str]) -> Iterator[str]:
    yield f"\n### {escaped(title(line))}\n"
    if not line.steps:
        yield "No step."
    for step in line.steps:
        where = f"{escaped(names[step.before])} → {escaped(names[step.after])}"
        values = f"{text_of(step.old, line.unit)} → {text_of(step.new, line.unit)}"
        yield f"- {where}: {escaped(values)}; {escaped(step_words(step))}"
