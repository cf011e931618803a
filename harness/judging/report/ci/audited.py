"""A user's own training as outcomes."""

from __future__ import annotations

from dataclasses import replace

from harness.judging.audit.judge import AuditJudgement, Standing
from harness.judging.report.ci.outcomes import Outcome, State, Verdicts, verdicts_of


def of_audit(judgement: AuditJudgement, file: str) -> Verdicts:
    """A user's own training. file: the training's path."""
    states = {
        Standing.FINE: State.PASSED,
        Standing.RECORDED: State.PASSED,
        Standing.WRONG: State.FAILED,
        Standing.BROKEN: State.FAILED,
        Standing.QUESTION: State.KNOWN,
        Standing.NOT_JUDGED: State.SKIPPED,
    }
    outcomes = []
    for item in judgement.items:
        state = states[item.standing]
        # What another finding explains is told with that one.
        if state is State.FAILED and item.under:
            state = State.KNOWN
        why = "" if state is State.PASSED else item.advice.title
        if item.under:
            why = f"follows from {item.under}"
        elif state is State.SKIPPED:
            why = item.check.reason or "not judged"
        place = (file, item.line.number) if item.line else ("", 0)
        what = item.standing.value
        outcomes.append(Outcome(item.check.rung, item.check.finding_id, state, what, why, *place))
    outcomes += [
        Outcome(rung, rung, State.LOST, "no result", why) for rung, why in judgement.missing.items()
    ]
    headline = _audited(judgement)
    told = verdicts_of(f"audit of {file}", headline, judgement.exit_code, outcomes)
    return replace(told, acceptable=False)


def _audited(judgement: AuditJudgement) -> str:
    wrong, asked = len(judgement.findings), len(judgement.questions)
    fine = len(judgement.of(Standing.FINE))
    parts = [f"{wrong} wrong" if wrong else "nothing wrong found", f"{asked} questions"]
    unjudged = len(judgement.of(Standing.NOT_JUDGED)) + len(judgement.missing)
    if unjudged:
        parts.append(f"{unjudged} not judged")
    return f"{', '.join(parts)}; {fine} checks hold."
