"""What `harness doctor` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import FIRST
from harness.judging.environments.inspection import Line


@dataclass(frozen=True)
class Inspected:
    """`harness doctor`."""

    lines: tuple[Line, ...]
    schema: int = FIRST
