"""What a verdict is made of, whichever question was asked: one line a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

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
    return verdicts_of(title, judgement.headline, judgement.exit_code, outcomes)


def verdicts_of(title: str, headline: str, code: int, outcomes: Sequence[Outcome]) -> Verdicts:
    """With a word for having judged nothing, which no value can say."""
    bad = any(outcome.state in {State.FAILED, State.LOST} for outcome in outcomes)
    if code and not bad:
        nothing = Outcome("verdict", "verdict", State.LOST, Verdict.NOT_RUN.value, headline)
        return Verdicts(title, headline, code, (*outcomes, nothing))
    return Verdicts(title, headline, code, tuple(outcomes))


def by_rung(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """In the order in which the rungs come."""
    rungs: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rungs.setdefault(outcome.rung, []).append(outcome)
    return rungs
