"""The verbs, one file each: the file name is the verb.

A verb has ABOUT (its line of help), `arguments(parser)` and `execute(arguments) -> exit code`. It
imports no other verb, and heavy modules only when it is executed: `--help` stays instant.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Protocol, cast


class Verb(Protocol):
    """What every file of this folder offers."""

    ABOUT: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own options."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code of the contract. Raises HarnessError for the user's mistakes."""


def verbs() -> tuple[str, ...]:
    """The names of all verbs."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def verb(name: str) -> Verb:
    """The module of a verb."""
    return cast(Verb, importlib.import_module(f"{__name__}.{name}"))
