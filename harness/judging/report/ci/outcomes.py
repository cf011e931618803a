"""What a verdict is made of, whichever question was asked: one line a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.judging.audit.judge import AuditJudgement, Standing
from harness.judging.compare.comparison import Comparison, Finding
from harness.judging.goldens.judgement import MISSING, Judgement
from harness.records.record import Verdict

SPURIOUS = "spurious"
GONE = "it differed, and was as it should be when it was measured again, alone"


class State(StrEnum):
    """FAILED is a finding and LOST a measurement that was required and is missing: either raises
    the exit code. KNOWN differs, as it is listed, accepted or explained. SKIPPED was not measured
    and need not be."""

    PASSED = "passed"
    FAILED = "failed"
    LOST = "lost"
    KNOWN = "known"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """One value. name: its finding id. what: its verdict in a word. why: a sentence. file, line: a
    place in the user's own file, where one decides it."""

    rung: str
    name: str
    state: State
    what: str
    why: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Verdicts:
    """All of a question. title: of the question. headline: the answer in a sentence. notes: what
    else was learnt, a sentence each. acceptable: whether `--accept` takes the names.

    Whatever ends with another code than 0 has a FAILED or a LOST outcome: who reads only these is
    never told green.
    """

    title: str
    headline: str
    exit_code: int
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...] = ()
    acceptable: bool = True

    def of(self, state: State) -> tuple[Outcome, ...]:
        """Those of one state, in ladder order."""
        return tuple(outcome for outcome in self.outcomes if outcome.state is state)


def of_judgement(judgement: Judgement) -> Verdicts:
    """Records against goldens: a run, a check, a report."""
    outcomes = []
    for item in judgement.items:
        known = item.known or item.accepted
        if item.is_red:
            state = State.FAILED
        elif item.verdict in MISSING:
            state = State.LOST if item.required and not known else State.SKIPPED
        elif known and item.verdict is not Verdict.SAME:
            state = State.KNOWN
        else:
            state = State.PASSED
        why = item.evidence if known and item.evidence else item.reason
        outcome = Outcome(item.rung, item.finding, state, item.verdict.value, why)
        if item.first_look is not None:
            outcome = replace(outcome, state=State.KNOWN, what=SPURIOUS, why=GONE)
        outcomes.append(outcome)
    outcomes += [
        Outcome(rung, rung, State.LOST, Verdict.NOT_RUN.value, "the run was interrupted before it")
        for rung in judgement.unmeasured
    ]
    title = f"{judgement.facts.stack}, model {judgement.facts.model}, data {judgement.facts.data}"
    return _verdicts(title, judgement.headline, judgement.exit_code, outcomes)


def _verdicts(title: str, headline: str, code: int, outcomes: Sequence[Outcome]) -> Verdicts:
    """With a word for having judged nothing, which no value can say."""
    bad = any(outcome.state in {State.FAILED, State.LOST} for outcome in outcomes)
    if code and not bad:
        nothing = Outcome("verdict", "verdict", State.LOST, Verdict.NOT_RUN.value, headline)
        return Verdicts(title, headline, code, (*outcomes, nothing))
    return Verdicts(title, headline, code, tuple(outcomes))


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
    return _verdicts(title, comparison.headline, comparison.exit_code, outcomes)


def _why(finding: Finding) -> str:
    if finding.cause:
        return f"follows from {finding.cause}: {finding.cause_note}"
    if finding.known:
        return "; ".join(change.title for change in finding.known)
    return "no known change explains it"


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
    told = _verdicts(f"audit of {file}", headline, judgement.exit_code, outcomes)
    return replace(told, acceptable=False)


def _audited(judgement: AuditJudgement) -> str:
    wrong, asked = len(judgement.findings), len(judgement.questions)
    fine = len(judgement.of(Standing.FINE))
    parts = [f"{wrong} wrong" if wrong else "nothing wrong found", f"{asked} questions"]
    unjudged = len(judgement.of(Standing.NOT_JUDGED)) + len(judgement.missing)
    if unjudged:
        parts.append(f"{unjudged} not judged")
    return f"{', '.join(parts)}; {fine} checks hold."


def by_rung(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """In the order in which the rungs come."""
    rungs: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rungs.setdefault(outcome.rung, []).append(outcome)
    return rungs
