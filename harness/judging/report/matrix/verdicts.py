"""A matrix as other tools read verdicts: one line a cell."""

from __future__ import annotations

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Table, wrong_and_unknown
from harness.judging.report.ci.outcomes import Outcome, Verdicts
from harness.judging.report.ci.outcomes import State as Judged
from harness.judging.report.matrix.names import against_left, against_truth, row_name


def of_matrix(table: Table) -> Verdicts:
    """Every cell: FAILED where it is wrong or moved as nobody has listed or accepted, LOST where
    it should have been measured."""
    outcomes = [_outcome(cell, table) for cell in table.cells]
    bad = any(outcome.state in {Judged.FAILED, Judged.LOST} for outcome in outcomes)
    if table.exit_code and not bad:
        nothing = "a family runs on no stack of the matrix, or nothing was judged"
        outcomes.append(Outcome("matrix", "matrix", Judged.LOST, "not run", nothing))
    return Verdicts(f"matrix of {table.size}", table.answer, table.exit_code, tuple(outcomes))


def _outcome(cell: CellEntry, table: Table) -> Outcome:
    name = f"{row_name(cell, table)} on {cell.stack}"
    truth, left = against_truth(cell), against_left(cell)
    what = f"{truth.word}, {left.word}" if left else truth.word
    if cell.state is State.NOT_RUN:
        return Outcome("matrix", name, Judged.SKIPPED, what, cell.reason)
    if cell.state is not State.MEASURED:
        return Outcome("matrix", name, Judged.LOST, what, cell.reason)
    red = [moved.finding for moved in cell.moved if moved.red]
    unknown = [wrong.finding for wrong in cell.wrong if not wrong.known]
    if wrong_and_unknown(cell) or red:
        return Outcome("matrix", name, Judged.FAILED, what, _why(unknown, red, cell.left))
    state = Judged.KNOWN if cell.wrong or cell.moved else Judged.PASSED
    return Outcome("matrix", name, state, what)


def _why(unknown: list[str], red: list[str], left: str) -> str:
    parts = [f"wrong: {_first(unknown)}"] if unknown else []
    parts += [f"moved since {left}: {_first(red)}"] if red else []
    return "; ".join(parts)


def _first(findings: list[str]) -> str:
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{findings[0]}{more}"
