"""Where commands run, one file each: the file name is the engine.

An engine has `open_engine(settings) -> Engine`. It imports its library, an optional extra, only
when it is opened; none is ever installed in a stack.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from harness.errors import BadInput
from harness.judging.workers.running import Command, Ended


@dataclass(frozen=True)
class Settings:
    """What an engine is opened with. workers: commands at once. folder: for its own files, seen by
    every node. options: of its own, as `partition=gpu`."""

    workers: int
    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)


class Supply(Protocol):
    """Where an engine takes commands from."""

    def take(self) -> Command | None:
        """The next that may start now; None where none may yet, or none is left."""

    @property
    def is_over(self) -> bool:
        """Whether none is left, unless one that runs is given out again."""


class Engine(Protocol):
    """Runs what a supply gives."""

    @property
    def most(self) -> int:
        """Commands that it can have at once."""

    def run(
        self,
        supply: Supply,
        ended: Callable[[Command, Ended], None],
        tick: Callable[[], None],
    ) -> None:
        """Run everything to its end; `ended` and `tick` are called from this thread. What they
        raise ends all that runs."""


class _Module(Protocol):
    NEEDS: str

    def open_engine(self, settings: Settings) -> contextlib.AbstractContextManager[Engine]:
        """The engine, until it is closed."""


def engines() -> tuple[str, ...]:
    """The names of all engines."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def open_engine(name: str, settings: Settings) -> contextlib.AbstractContextManager[Engine]:
    """An engine by its name. Raises BadInput for an unknown one, or one whose library is not
    installed."""
    if name not in engines():
        raise BadInput(f"There is no engine {name!r}; choose from {', '.join(engines())}.")
    module = cast(_Module, importlib.import_module(f"{__name__}.{name}"))
    if module.NEEDS and importlib.util.find_spec(module.NEEDS) is None:
        raise BadInput(
            f"The engine {name} needs the package {module.NEEDS}; install it beside the harness: "
            f"pip install 'vlm-qlora-harness[{name}]'."
        )
    return module.open_engine(settings)
