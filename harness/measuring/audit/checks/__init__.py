"""What is checked of a training, one file per rung: the file name is the registration.

A file has `checks(training, findings)`: it adds what it measured to `findings` and judges nothing.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.training import Training


class Checker(Protocol):
    """A file of this folder."""

    def checks(self, training: Training, findings: Findings) -> None:
        """Measure one rung of a training."""


def checker(rung: str) -> Checker | None:
    """The rung's file; None where there is none yet."""
    if rung not in {module.name for module in pkgutil.iter_modules(__path__)}:
        return None
    return cast(Checker, importlib.import_module(f"{__name__}.{rung}"))
