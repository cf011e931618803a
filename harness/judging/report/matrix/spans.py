"""Since when a family trains rightly: a row of a matrix as spans of stacks that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry
from harness.judging.report.matrix.findings import metric_of
from harness.records.record import RUNGS

# Of the values that are wrong as nobody has listed, as many are named.
MOST = 5


@dataclass(frozen=True)
class Span:
    """Neighbouring cells of a row that are alike. word: `rightly`, `as listed`, `wrongly`, `does
    not run`, or what became of them. why: the metrics of which values are wrong somewhere in it as
    nobody has listed, or the reason that nothing was measured on the last of them."""

    first: str
    last: str
    word: str
    why: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For people; stacks by what `first` and `last` call them."""
        since = f"on {self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        why = ", ".join(self.why[:MOST])
        more = f" and {len(self.why) - MOST} more" if len(self.why) > MOST else ""
        return f"{self.word} {since}" + (f" ({why}{more})" if why else "")


def spans(row: Sequence[CellEntry], names: dict[str, str]) -> tuple[Span, ...]:
    """A row's spans, from left to right. names: of stacks by label."""
    parts = [(word, list(cells)) for word, cells in groupby(row, key=_word)]
    return tuple(
        Span(names[cells[0].stack], names[cells[-1].stack], word, _why(cells))
        for word, cells in parts
    )


def _word(cell: CellEntry) -> str:
    if cell.state is not State.MEASURED:
        return "does not run" if cell.state is State.NOT_RUN else "not run"
    return cell.trains or "without a truth"


def _why(cells: Sequence[CellEntry]) -> tuple[str, ...]:
    if cells[-1].state is not State.MEASURED:
        return (cells[-1].reason or cells[-1].state.value,)
    wrong = [each for cell in cells for each in cell.wrong if not each.known]
    # In the ladder's order, whichever release has it first.
    wrong.sort(key=lambda each: RUNGS.index(each.rung))
    return tuple(dict.fromkeys(metric_of(each.finding) for each in wrong))
