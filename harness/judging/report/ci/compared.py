"""Two stacks as outcomes."""

from __future__ import annotations

from harness.judging.compare.comparison import Comparison, Finding
from harness.judging.goldens.judgement import MISSING
from harness.judging.report.ci.outcomes import GONE, SPURIOUS, Outcome, State, Verdicts, verdicts_of
from harness.records.record import Verdict


def of_comparison(comparison: Comparison) -> Verdicts:
    """Two stacks: every pair of values, and what a finding is explained by."""
    findings = {finding.pair.finding: finding for finding in comparison.findings}
    lost = {pair.finding for pair in comparison.lost}
    known = {pair.finding for pair in comparison.accepted_breaks}
    outcomes = []
    spurious = {look.first.finding for look in comparison.spurious}
    for pair in comparison.pairs:
        finding = findings.get(pair.finding)
        if finding is not None and pair.verdict not in MISSING:
            state = State.FAILED if finding.is_red else State.KNOWN
            outcome = Outcome(pair.rung, pair.finding, state, pair.verdict.value, _why(finding))
        elif pair.finding in lost or pair.verdict in MISSING:
            state = State.LOST if pair.finding in lost else State.SKIPPED
            why = pair.new.error or pair.old.error or "not measured on one side"
            outcome = Outcome(pair.rung, pair.finding, state, pair.verdict.value, why)
        elif pair.finding in known:
            outcome = Outcome(
                pair.rung, pair.finding, State.KNOWN, pair.verdict.value, "broken on both sides"
            )
        elif pair.finding in spurious:
            outcome = Outcome(pair.rung, pair.finding, State.KNOWN, SPURIOUS, GONE)
        else:
            outcome = Outcome(pair.rung, pair.finding, State.PASSED, pair.verdict.value)
        outcomes.append(outcome)
    outcomes += [
        Outcome(lack.rung, lack.rung, State.LOST, Verdict.NOT_RUN.value, lack.reason)
        for lack in comparison.missing
    ]
    title = " → ".join(comparison.names)
    return verdicts_of(title, comparison.headline, comparison.exit_code, outcomes)


def _why(finding: Finding) -> str:
    if finding.cause:
        return f"follows from {finding.cause}: {finding.cause_note}"
    if finding.known:
        return "; ".join(change.title for change in finding.known)
    return "no known change explains it"
