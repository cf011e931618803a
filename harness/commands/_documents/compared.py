"""What `harness compare` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judging.compare.document import COMPARISON_SCHEMA, Document


@dataclass(frozen=True)
class Compared(Document):
    """`harness compare`: comparison.json, and the folder that it lies in."""

    comparison_schema: int = COMPARISON_SCHEMA
    out: str = ""
