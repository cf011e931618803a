"""Which release breaks an import: the libraries that moved swapped one by one, on the rungs of
imports alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import FindingAnswer
from harness.judging.bisect.from_compare import bisect_comparison
from harness.judging.bisect.range import Say
from harness.judging.bisect.spec import ComparisonSpec, Search
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.pairs import Pair
from harness.judging.workers.resolve import Request

# A package's own import; that of the recipe's classes where nothing but its pins is there; and the
# recipe's import statements, for libraries look for their modules only when a class is asked for.
IMPORTS = frozenset({"environment.imports", "environment.bare_pins_import"})
CALLS, STATEMENT = "interface.call", "import_"


def broken_imports(comparison: Comparison) -> tuple[str, ...]:
    """The findings of what only OLD can import, in ladder order."""
    pairs = (finding.pair for finding in comparison.findings)
    return tuple(pair.finding for pair in pairs if pair.broken == "new" and _is_import(pair))


def _is_import(pair: Pair) -> bool:
    statement = pair.metric_id == CALLS and pair.case.startswith(STATEMENT)
    return statement or pair.metric_id in IMPORTS


def breaking(
    folder: Path, findings: Sequence[str], libraries: Sequence[str], request: Request, say: Say
) -> dict[str, str]:
    """By finding of a comparison's folder the releases that break it, or why none is named.

    Rung 0 costs some seconds a release, rung 1 some more; nothing else is measured.
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
