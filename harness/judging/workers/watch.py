"""Show on stderr how far a measuring child is, from the small files that it keeps up to date."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.errors import BadInput
from harness.records.files import read_object
from harness.records.handover import rung_under_way


def _peek(path: Path) -> dict[str, Any]:
    """A progress file's content; empty while it is not there or being replaced."""
    try:
        return read_object(path)
    except BadInput:
        return {}


@contextlib.contextmanager
def watching(out: Path, rungs: Sequence[str], console: Console) -> Iterator[Callable[[], None]]:
    """A bar over the rungs and, while training, one over the optimizer steps, with the time that is
    left by the pace so far.

    Yields a function to call now and then. On a console that is no terminal each finished rung
    is one line.
    """
    done: set[str] = set()
    bar = Progress(
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        all_rungs = bar.add_task("rungs", total=len(rungs))
        steps = bar.add_task("training", total=None, visible=False)

        def tick() -> None:
            for rung in rungs:
                if rung not in done and (out / f"{rung}.json").is_file():
                    done.add(rung)
                    if not console.is_terminal:
                        console.print(f"measured {rung} ({len(done)} of {len(rungs)})")
            current = rung_under_way(out)
            now = current.rung if current else "starting"
            bar.update(all_rungs, completed=len(done), description=f"rung {now}")
            training = _peek(out / "training" / "progress.json")
            if training and now == "trajectory":
                bar.update(
                    steps,
                    visible=True,
                    total=training["total"],
                    completed=training["step"],
                    description=f"training, loss {training['loss']:.3f}",
                )

        yield tick
        tick()
