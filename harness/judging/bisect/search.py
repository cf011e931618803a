"""Search over an ordered range with an injected evaluate() -> GOOD | BAD | SKIP.

Pure: no environment, no file, no clock. A range is known by its positions 0 … count-1; the first
is said to be GOOD, the last BAD. Several findings are searched together over the same
evaluations. What was not evaluated lies between two equal answers and is *assumed* to be equal:
the result names every such interval. The two sides of a change are evaluated once more, so that a
position that does not answer the same twice is undecided and not a boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

# Evaluations beyond the binary search, spread over what is still assumed.
CHECKS = 4


class Answer(StrEnum):
    """SKIP: could not be decided (not installable, another error); never good, never bad."""

    GOOD = "GOOD"
    BAD = "BAD"
    SKIP = "SKIP"


@dataclass(frozen=True)
class Outcome:
    """An answer and its reason or evidence in a few words."""

    answer: Answer
    reason: str = ""


@dataclass(frozen=True)
class Boundary:
    """Where the answer changes: `before` still has the old one, `after` is the first new one.

    skipped: undecided positions between the two; where there are any, each of them may be it.
    """

    before: int
    after: int
    old: Answer
    new: Answer
    skipped: tuple[int, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether the boundary is one step."""
        return not self.skipped


@dataclass(frozen=True)
class Found:
    """One finding's answer. assumed: intervals (first, last) that were not evaluated inside."""

    boundaries: tuple[Boundary, ...]
    outcomes: Mapping[int, Outcome]
    assumed: tuple[tuple[int, int], ...]

    @property
    def is_monotonic(self) -> bool:
        """Whether the answer changed once, as far as was looked."""
        return len(self.boundaries) == 1


class EndError(Exception):
    """An end of the range does not show what was claimed. position: 0 or count-1."""

    def __init__(self, finding: str, position: int, wanted: Answer, outcome: Outcome) -> None:
        super().__init__(f"{finding}: {wanted} expected at {position}, found {outcome.answer}")
        self.finding, self.position = finding, position
        self.wanted, self.outcome = wanted, outcome


Evaluate = Callable[[int], Mapping[str, Outcome]]
Keep = Callable[[set[int]], None]


@dataclass
class _Memo:
    """Every position is evaluated at most once, whatever number of findings asks."""

    findings: Sequence[str]
    evaluate: Evaluate
    keep: Keep | None
    outcomes: dict[int, Mapping[str, Outcome]] = field(default_factory=dict)

    def __call__(self, position: int) -> Mapping[str, Outcome]:
        if position not in self.outcomes:
            self.outcomes[position] = self.evaluate(position)
            # Before both ends are known, neither is on a side of anything.
            if self.keep and len(self.outcomes) > 1:
                self.keep(self.sides())
        return self.outcomes[position]

    def decided(self, finding: str) -> dict[int, Answer]:
        """Positions with an answer other than SKIP, in order."""
        answers = ((p, self.outcomes[p][finding].answer) for p in sorted(self.outcomes))
        return {position: answer for position, answer in answers if answer is not Answer.SKIP}

    def changes(self, finding: str) -> Iterator[tuple[int, int]]:
        """Neighbouring decided positions of different answers."""
        for (a, x), (b, y) in pairwise(self.decided(finding).items()):
            if x is not y:
                yield a, b

    def sides(self) -> set[int]:
        """Both positions of every change of every finding."""
        return {p for f in self.findings for change in self.changes(f) for p in change}

    def repeat(self, position: int, again: Evaluate) -> None:
        """Evaluate once more; what differs becomes undecided."""
        first, second = self.outcomes[position], again(position)
        self.outcomes[position] = {
            f: o
            if o.answer in {Answer.SKIP, second[f].answer}
            else Outcome(Answer.SKIP, f"not the same twice: {o.reason}, then {second[f].reason}")
            for f, o in first.items()
        }


def search(
    count: int,
    findings: Sequence[str],
    evaluate: Evaluate,
    *,
    monotonic: bool = False,
    checks: int = CHECKS,
    exhaustive: bool = False,
    again: Evaluate | None = None,
    keep: Keep | None = None,
) -> dict[str, Found]:
    """Find every boundary of every finding over positions 0 … count-1.

    monotonic: trust that each answer changes once: at most ceil(log2(count)) + 2 evaluations for
    one finding without skips. Otherwise up to `checks` more look into the largest intervals still
    assumed, and each surprise is bisected too. exhaustive: evaluate everything. again: repeats an
    evaluation, for both sides of every change. keep: told which positions it may be asked for.
    Raises EndError where an end does not show what is claimed, ValueError for fewer than two.
    """
    if count < 2:
        raise ValueError(f"a range of {count} has no two ends")
    memo = _Memo(findings, evaluate, keep)
    _check_ends(memo, count)
    if exhaustive:
        for position in range(count):
            memo(position)
    left = 0 if monotonic else checks
    repeated: set[int] = set()
    while True:
        for finding in findings:
            _narrow(memo, finding)
        if again and (doubtful := memo.sides() - repeated):
            for position in sorted(doubtful):
                memo.repeat(position, again)
            repeated |= doubtful
            _check_ends(memo, count)
            continue
        unseen = _widest_gap(memo) if left > 0 else None
        if unseen is None:
            break
        memo(unseen)
        left -= 1
    return {finding: _found(memo, finding) for finding in findings}


def _check_ends(memo: _Memo, count: int) -> None:
    for position, wanted in ((0, Answer.GOOD), (count - 1, Answer.BAD)):
        outcomes = memo(position)
        for finding in memo.findings:
            if outcomes[finding].answer is not wanted:
                raise EndError(finding, position, wanted, outcomes[finding])


def _narrow(memo: _Memo, finding: str) -> None:
    """Evaluate until every change of answer is one step, or hidden by skips."""
    while gap := next(filter(None, (_untried(memo, a, b) for a, b in memo.changes(finding))), None):
        memo(_middle(gap))


def _untried(memo: _Memo, first: int, last: int) -> list[int]:
    return [p for p in range(first + 1, last) if p not in memo.outcomes]


def _middle(positions: Sequence[int]) -> int:
    return positions[(len(positions) - 1) // 2]


def _widest_gap(memo: _Memo) -> int | None:
    """The middle of the longest stretch that nothing was evaluated in, None where there is none.

    Only stretches between equal answers are left once every change is narrowed.
    """
    evaluated = sorted(memo.outcomes)
    gaps = [(b - a, a, b) for a, b in pairwise(evaluated) if b - a > 1]
    if not gaps:
        return None
    _, first, last = max(gaps, key=lambda gap: (gap[0], -gap[1]))
    return (first + last) // 2


def _found(memo: _Memo, finding: str) -> Found:
    decided = memo.decided(finding)
    boundaries, assumed = [], []
    for (a, x), (b, y) in pairwise(decided.items()):
        between = tuple(p for p in range(a + 1, b) if p in memo.outcomes)
        if x is not y:
            boundaries.append(Boundary(a, b, x, y, between))
            continue
        edges = (a, *between, b)
        assumed += [(low + 1, high - 1) for low, high in pairwise(edges) if high - low > 1]
    outcomes = {p: memo.outcomes[p][finding] for p in sorted(memo.outcomes)}
    return Found(tuple(boundaries), outcomes, tuple(assumed))
