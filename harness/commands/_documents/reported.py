"""What `harness report` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import JUDGED
from harness.commands._documents.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class ReportedFolder(Verdict):
    """One folder of records, judged."""

    directory: str


@dataclass(frozen=True)
class Reported:
    """`harness report`."""

    reports: tuple[ReportedFolder, ...]
    schema: int = JUDGED
