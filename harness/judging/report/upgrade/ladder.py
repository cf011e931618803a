"""The ladder of a comparison on the console, while it fills."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.golden import Golden
from harness.judging.goldens.own import goldens_for
from harness.judging.report.html.values import SYMBOLS
from harness.records.handover import rung_under_way
from harness.records.printable import clean
from harness.records.record import RUNGS, Verdict, read_record
from harness.records.tensors import read_tensors

STYLES = {
    Verdict.SAME: "green",
    Verdict.IMPROVED: "green",
    Verdict.CHANGED: "bold red",
    Verdict.WORSE: "bold red",
    Verdict.BROKEN: "bold red",
    Verdict.NOT_RUN: "bright_black",
    Verdict.NOT_COMPARABLE: "bright_black",
}
_ORDER = (
    Verdict.BROKEN,
    Verdict.WORSE,
    Verdict.CHANGED,
    Verdict.IMPROVED,
    Verdict.SAME,
    Verdict.NOT_COMPARABLE,
    Verdict.NOT_RUN,
)


def worst(pairs: Sequence[Pair]) -> Verdict:
    """The verdict that a rung is told by: the worst of its pairs."""
    verdicts = {pair.verdict for pair in pairs}
    return next((verdict for verdict in _ORDER if verdict in verdicts), Verdict.NOT_RUN)


def verdict_text(verdict: Verdict) -> Text:
    """Symbol and word, coloured."""
    words = verdict.value.replace("_", " ")
    return Text(f"{SYMBOLS[verdict]} {words}", style=STYLES[verdict])


class LadderView:
    """Shows every rung's state on both sides and, where both are there, its verdict.

    On a console that is no terminal every finished rung is one line.
    """

    def __init__(
        self,
        console: Console,
        names: tuple[str, ...],
        rungs: Sequence[str],
        folders: tuple[Path, ...],
    ) -> None:
        self._console, self._names, self._folders = console, names, folders
        self._rungs = [rung for rung in RUNGS if rung in set(rungs)]
        self._pairs: dict[str, tuple[Pair, ...]] = {}
        self._said: list[str] = []
        self._lock = threading.Lock()
        self._bands = read_bands()
        self._goldens: tuple[Golden, ...] = ()
        self._live = Live(self, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LadderView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """One line below the ladder, or simply printed."""
        with self._lock:
            self._said = [*self._said[-2:], line]
        if not self._console.is_terminal:
            self._console.print(Text(clean(line)), soft_wrap=True)

    def tick(self) -> None:
        """Look for rungs that both sides have finished since the last call."""
        for rung in self._rungs:
            paths = [folder / f"{rung}.json" for folder in self._folders]
            if rung in self._pairs or not all(p.is_file() for p in paths):
                continue
            # What the oracles say of a user's own samples is there before the first record.
            self._goldens = self._goldens or goldens_for(*self._folders)
            old, new = (read_record(path) for path in paths)
            tensors = [read_tensors(folder, rung) for folder in self._folders]
            pairs = pair_records(old, new, self._bands, self._goldens, (tensors[0], tensors[1]))
            self._pairs[rung] = pairs
            if not self._console.is_terminal:
                line = Text(f"{RUNGS.index(rung):>2} {rung:<12}").append_text(
                    verdict_text(worst(pairs))
                )
                self._console.print(line.append(f"  {_counts(pairs)}", style="default"))

    def __rich__(self) -> Table:
        return self.table()

    def table(self) -> Table:
        """The ladder as it stands."""
        table = Table(show_lines=False, header_style="bold")
        for name in ("rung", *self._names, "verdict", "values"):
            table.add_column(Text(clean(name)))
        running = [self._running(folder) for folder in self._folders]
        for rung in self._rungs:
            states = [
                self._state(folder, rung, now)
                for folder, now in zip(self._folders, running, strict=True)
            ]
            pairs = self._pairs.get(rung)
            verdict = verdict_text(worst(pairs)) if pairs else Text("")
            number = f"{RUNGS.index(rung):>2} {rung}"
            table.add_row(number, *states, verdict, _counts(pairs) if pairs else "")
        table.caption = Text(clean("\n".join(self._said)), style="bright_black")
        return table

    @staticmethod
    def _running(folder: Path) -> str:
        current = rung_under_way(folder)
        return current.rung if current else ""

    @staticmethod
    def _state(folder: Path, rung: str, running: str) -> Text:
        if (folder / f"{rung}.json").is_file():
            return Text("measured", style="green")
        return Text("running …", style="yellow") if rung == running else Text("–")


def _counts(pairs: Sequence[Pair]) -> str:
    moved = sum(pair.differs for pair in pairs)
    compared = sum(p.verdict not in {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE} for p in pairs)
    if not compared:
        return pairs[0].reason if pairs and pairs[0].reason else "nothing compared"
    return f"{compared} compared" + (f", {moved} differ" if moved else "")
