"""Which release breaks an import: the libraries that moved swapped one by one, on rung 0 alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import FindingAnswer
from harness.judging.bisect.from_compare import bisect_comparison
from harness.judging.bisect.range import Say
from harness.judging.bisect.spec import ComparisonSpec, Search
from harness.judging.compare.comparison import Comparison
from harness.judging.workers.resolve import Request

IMPORTS = "environment.imports"


def broken_imports(comparison: Comparison) -> tuple[str, ...]:
    """The findings of packages that only OLD can import."""
    return tuple(
        finding.pair.finding
        for finding in comparison.findings
        if finding.pair.metric_id == IMPORTS and finding.pair.broken == "new"
    )


def breaking(
    folder: Path, findings: Sequence[str], libraries: Sequence[str], request: Request, say: Say
) -> dict[str, str]:
    """By finding of a comparison's folder the releases that break it, or why none is named.

    Every import costs a few seconds a release; nothing else is measured.
    """
    spec = ComparisonSpec(folder, tuple(findings), Search(request), packages=tuple(libraries))
    try:
        bisection = bisect_comparison(spec, say)
    except (BadInput, NotRunnable) as error:
        return dict.fromkeys(findings, f"not named: {error}")
    return {finding: _named(bisection.findings[finding]) for finding in findings}


def _named(answer: FindingAnswer) -> str:
    releases = [f"{edge.package} {edge.after}" for edge in answer.boundaries]
    if releases:
        return " and ".join(dict.fromkeys(releases))
    blame = answer.blame
    why = answer.problem or (blame.problem if blame else "") or "no release of them alone does it"
    return f"not named: {why}"
