"""Probes, one file per rung with `run(context) -> Record`: the file name is the registration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from harness.errors import BadInput
from harness.measuring.instruments.precision import of_rung
from harness.records.context import Context
from harness.records.record import RUNGS, Record


def available() -> tuple[str, ...]:
    """The rungs that have a probe, in ladder order."""
    names = {m.name for m in pkgutil.iter_modules(__path__)}
    return tuple(rung for rung in RUNGS if rung in names)


def probe(rung: str) -> Callable[[Context], Record]:
    """The run function of a rung. Raises BadInput listing the rungs."""
    if rung not in available():
        raise BadInput(f"There is no rung {rung!r}; choose from {', '.join(available())}.")
    run: Callable[[Context], Record] = importlib.import_module(f"{__name__}.{rung}").run
    return run


def measured(context: Context, rung: str) -> Record:
    """A rung's record, in the arithmetic that its goldens are told for; raises what its probe
    raises."""
    with of_rung(context.device, rung):
        return probe(rung)(context)
