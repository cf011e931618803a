"""What `harness audit` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import AUDITED
from harness.judging.report.audit.kept import SinceKept
from harness.judging.report.audit.view import AuditVerdict
from harness.records.audit import Audit


@dataclass(frozen=True)
class Audited:
    """`harness audit`. golden: None where none was kept."""

    audit: Audit
    judgement: AuditVerdict
    golden: SinceKept | None
    schema: int = AUDITED
