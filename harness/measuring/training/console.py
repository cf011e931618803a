"""What a person at the terminal sees of a training, and how Ctrl-C reaches it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.records.files import write_json


@contextlib.contextmanager
def first_interrupt_sets(flag: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C finish the step and save; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        flag.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def progress(bar: bool, folder: Path, total: list[int], *, write: bool = True) -> Iterator[Any]:
    """A rich bar on stderr, and `progress.json` for whoever watches from another process."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not bar,
    )
    with shown:
        task = shown.add_task("training", total=None, loss=0.0)

        def advance(step: int, loss: float) -> None:
            shown.update(task, total=total[0], completed=step, loss=loss)
            if write:
                state = {"step": step, "total": total[0], "loss": loss}
                write_json(folder / "progress.json", state)

        yield advance
