"""What `harness probe` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.commands._documents import FIRST
from harness.records.record import Record


@dataclass(frozen=True)
class Probed:
    """`harness probe`. out: the folder. records: by rung."""

    out: str
    records: Mapping[str, Record] = field(default_factory=dict)
    schema: int = FIRST
