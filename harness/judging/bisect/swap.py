"""Which package is responsible: swap packages between two stacks, with an injected evaluate().

Pure, like bisect.py. A set of packages stands for the old stack with those taken from the new.
The small sets are tried first, because a cause is nearly always one package; where none alone
shows the difference, delta debugging (Zeller and Hildebrandt 2002, `ddmin`) finds a smallest set
that does: an interaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.judging.bisect.search import Answer, EndError, Outcome

Packages = frozenset[str]
EvaluateSet = Callable[[Packages], Outcome]


@dataclass(frozen=True)
class Blame:
    """causes: the smallest sets that show the difference, each enough by itself. undecided: sets
    that could not be tried, with the reason; while there are any, another cause may hide there.
    """

    causes: tuple[Packages, ...]
    outcomes: dict[Packages, Outcome]
    # Packages that only took a cause along, by name that cause.
    through: Mapping[str, str] = field(default_factory=dict)

    @property
    def undecided(self) -> dict[Packages, str]:
        """What could not be installed or run."""
        return {s: o.reason for s, o in self.outcomes.items() if o.answer is Answer.SKIP}

    @property
    def is_interaction(self) -> bool:
        """Whether it takes several packages together."""
        return bool(self.causes) and all(len(cause) > 1 for cause in self.causes)


def told_apart(
    blame: Blame, drags: Mapping[str, Packages], requires: Mapping[str, Packages]
) -> Blame:
    """Leave out a cause that is one only because another cause has to move with it.

    drags: what else moved when a package alone was swapped. requires: what a package declares.
    Where two move only together, the one that requires the other is the cause.
    """
    singles = {next(iter(cause)) for cause in blame.causes if len(cause) == 1}
    through: dict[str, str] = {}
    for package in sorted(singles):
        for other in sorted(drags.get(package, frozenset()) & singles - {package}):
            mutual = package in drags.get(other, frozenset())
            above = package in requires.get(other, frozenset())
            if (not mutual or above) and other not in through:
                through[package] = other
                break
    kept = tuple(c for c in blame.causes if len(c) > 1 or next(iter(c)) not in through)
    return replace(blame, causes=kept, through=through)


def responsible(finding: str, packages: Sequence[str], evaluate: EvaluateSet) -> Blame:
    """Find the packages whose move makes the difference.

    Raises EndError where the old stack already shows it, or the whole new one does not.
    """
    outcomes: dict[Packages, Outcome] = {}

    def answer(chosen: Packages) -> Answer:
        if chosen not in outcomes:
            outcomes[chosen] = evaluate(chosen)
        return outcomes[chosen].answer

    everything = frozenset(packages)
    for position, chosen, wanted in (
        (0, frozenset[str](), Answer.GOOD),
        (1, everything, Answer.BAD),
    ):
        if answer(chosen) is not wanted:
            raise EndError(finding, position, wanted, outcomes[chosen])
    alone = tuple(frozenset({p}) for p in packages)
    causes = tuple(single for single in alone if answer(single) is Answer.BAD)
    if not causes:
        causes = (_smallest(list(packages), answer),)
    return Blame(causes, outcomes)


def _smallest(packages: list[str], answer: Callable[[Packages], Answer]) -> Packages:
    """ddmin: a set that shows the difference and loses it with any of its members.

    Undecided sets count as not showing it, so the result may be larger than need be; they are
    listed in Blame.undecided.
    """
    current, parts = packages, 2
    while len(current) >= 2:
        chunks = [current[i::parts] for i in range(parts)]
        rests = [[p for p in current if p not in chunk] for chunk in chunks]
        tries = [*chunks, *(rests if parts > 2 else [])]
        smaller = next((t for t in tries if t and answer(frozenset(t)) is Answer.BAD), None)
        if smaller is not None:
            parts = max(parts - 1, 2) if smaller in rests else 2
            current = smaller
        elif parts >= len(current):
            break
        else:
            parts = min(len(current), parts * 2)
    return frozenset(current)
