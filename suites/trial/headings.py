"""How many headings a comparison's front page has, from its document."""

from __future__ import annotations

from harness.judging.compare.comparison import Finding
from harness.judging.compare.document import Document, FindingEntry
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.patterns import bucket
from harness.judging.report.upgrade.view import WARNINGS
from harness.records.record import Verdict


def headings(document: Document) -> int:
    """As many as `report.upgrade.view.groups` makes of the comparison itself."""
    own = (finding for finding in document.findings if not finding.cause)
    return len({_key(finding, established=document.established) for finding in own})


def _key(finding: FindingEntry, *, established: bool) -> tuple[str, ...]:
    if finding.known and f"{finding.rung}.{finding.metric}" == WARNINGS:
        return ("known", WARNINGS)
    if finding.known:
        return ("known", *finding.known)
    nothing = Side(None)
    pair = Pair(
        finding.id,
        finding.rung,
        finding.metric,
        finding.case,
        finding.verdict or Verdict.CHANGED,
        nothing,
        nothing,
        broken=finding.broken,
    )
    return bucket(Finding(pair), established=established)


def unexplained(document: Document) -> tuple[FindingEntry, ...]:
    """Own findings that no entry of the register knows, in ladder order."""
    return tuple(f for f in document.findings if not f.cause and not f.known)
