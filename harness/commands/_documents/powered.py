"""What `harness power` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.power import PowerTable


@dataclass(frozen=True)
class Powered(PowerTable):
    """`harness power`: its table, as golden/power keeps it."""
