"""What `harness bisect` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judging.bisect.answers import BISECT_SCHEMA, Bisection


@dataclass(frozen=True)
class Bisected(Bisection):
    """`harness bisect`: bisect.json, and the folder that it lies in."""

    bisect_schema: int = BISECT_SCHEMA
    out: str = ""
