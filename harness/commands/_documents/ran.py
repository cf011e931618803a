"""What `harness run` prints, and its run.json."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import JUDGED
from harness.commands._documents.verdict import Verdict
from harness.records.context import Context


@dataclass(frozen=True, kw_only=True)
class Ran(Verdict):
    """`harness run`, and its run.json. run: the name of its folder."""

    run: str
    context: Context
    schema: int = JUDGED
