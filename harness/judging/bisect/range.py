"""One package's releases, searched for all questions at once; are the ends what they should be?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import Bisection, FindingAnswer
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.evidence import explain
from harness.judging.bisect.question import ABSENT, Kind, Question, State, answer, is_noisy
from harness.judging.bisect.search import Answer, EndError, Outcome, search
from harness.judging.bisect.spec import RangeSpec, Search, probe_options
from harness.judging.environments import releases
from harness.judging.environments.build import environment_for
from harness.judging.workers.resolve import new_context
from harness.records.context import Scale
from harness.records.folders import cache_root, whole
from harness.records.record import RUNGS
from harness.records.scratch import Scratch

# How the repetition of a release beside a change is kept and shown.
AGAIN = "again"
# Of a release's values so many are said while it runs; its records hold all.
MOST_SHOWN = 3
Say = Callable[[str], None]


def bisect_range(spec: RangeSpec, say: Say) -> Bisection:
    """Find the release of one package that moved each question's value.

    Raises BadInput or NotRunnable where an end does not show what is claimed.
    """
    started = time.monotonic()
    wheels = whole(spec.wheels) if spec.wheels else None
    known = releases.in_folder(spec.package, wheels) if wheels else releases.published(spec.package)
    span = releases.between(
        known, spec.package, spec.good, spec.bad, pre=spec.pre, yanked=spec.yanked
    )
    base = spec.search.base
    say(f"{len(span)} releases of {spec.package} from {spec.good} to {spec.bad}, base {base}")
    with open_bench(spec.search, spec.questions, wheels, say) as bench:
        findings = search_range(spec.package, spec.questions, span, bench, spec.search, say)
    return Bisection(
        package=spec.package,
        good=spec.good,
        bad=spec.bad,
        base=base,
        findings=findings,
        options=probe_options(spec.search.request),
        releases=tuple(str(release.version) for release in span),
        wheels=str(wheels or ""),
        environments=bench.built,
        for_companions=bench.extra,
        seconds=round(time.monotonic() - started, 1),
    )


def open_bench(
    search: Search, questions: Sequence[Question], wheels: Path | None, say: Say
) -> Bench:
    """The bench of a base, its environment built and the model looked up in it."""
    say(f"building or reusing the environment of {search.base}")
    python = environment_for(search.base)
    root = cache_root() / "bisect"
    # Its own folder: another bisect may be looking up another model. A failure's log stays there
    # until the next begins.
    looked_up = Scratch(root / "sources")
    context = new_context(search.request, looked_up.path, python, Scale(), say)
    looked_up.close()
    rungs = tuple(rung for rung in RUNGS if rung in {q.rung for q in questions})
    return Bench(search.base, python, context, root, rungs, wheels=wheels, limit_s=search.limit_s)


@dataclass
class _Walk:
    """The releases of one package on a bench, each measured once and once more where asked.

    fixed: requirements that every release is measured together with.
    """

    package: str
    questions: Sequence[Question]
    span: Sequence[releases.Release]
    bench: Bench
    say: Say
    fixed: Sequence[str]
    measured: dict[int, Measured] = field(default_factory=dict)
    outcomes: dict[int, Mapping[str, Outcome]] = field(default_factory=dict)
    ends: dict[Question, tuple[State, State]] = field(default_factory=dict)
    noisy: set[Question] = field(default_factory=set)

    def wanted(self, position: int) -> list[str]:
        """What a position is measured with."""
        return [self.span[position].requirement(self.package), *self.fixed]

    def show(self, position: int, again: str = "") -> Measured:
        """Measure a position and say what it shows."""
        begin = time.monotonic()
        measured = self.bench.measure(self.wanted(position), again)
        took = f"{time.monotonic() - begin:.0f} s" if measured.fresh else "kept"
        shown = "; ".join(
            f"{q.finding}: {measured.state(q).text[:90]}" for q in self.questions[:MOST_SHOWN]
        )
        if len(self.questions) > MOST_SHOWN:
            shown += f"; and {len(self.questions) - MOST_SHOWN} more"
        self.say(f"  {self.package} {self.span[position].version} {again} {took}  {shown}")
        return measured

    def measure(self, position: int) -> Measured:
        """Measure a position, once."""
        if position not in self.measured:
            self.measured[position] = self.show(position)
        return self.measured[position]

    def check(self) -> None:
        """Measure both ends. Raises BadInput or NotRunnable where they show not what they must."""
        first, last = self.measure(0), self.measure(len(self.span) - 1)
        self.ends = {q: (first.state(q), last.state(q)) for q in self.questions}
        self.noisy = {q for q in self.questions if is_noisy(q, first.records)}
        names = tuple(f"{self.package} {self.span[end].version}" for end in (0, -1))
        for question, (good, bad) in self.ends.items():
            check_measured(good, bad, names[0], names[1])
            if question not in self.noisy:
                check_ends(question, good, bad, names[0], names[1])

    def evaluate(self, position: int) -> Mapping[str, Outcome]:
        """What a position answers to every question."""
        measured = self.measure(position)
        self.outcomes[position] = {
            q.finding: self.paired(q, position)
            if q in self.noisy
            else answer(q, measured.state(q), *self.ends[q])
            for q in self.questions
        }
        return self.outcomes[position]

    def again(self, position: int) -> Mapping[str, Outcome]:
        """The same, measured a second time; a time was already taken several times."""
        measured = self.show(position, AGAIN)
        return {
            q.finding: self.outcomes[position][q.finding]
            if q in self.noisy
            else answer(q, measured.state(q), *self.ends[q])
            for q in self.questions
        }

    def keep(self, positions: set[int]) -> None:
        """Drop what was built for all others; every noisy metric is paired with the good end."""
        kept = positions | {0} if self.noisy else positions
        self.bench.keep(self.measured[position] for position in kept)

    def paired(self, question: Question, position: int) -> Outcome:
        """A noisy question's answer."""
        if position == 0:
            return Outcome(Answer.GOOD, "the end that the others are paired with")
        return self.bench.paired(self.wanted(0), self.wanted(position), question)


def search_range(
    package: str,
    questions: Sequence[Question],
    span: Sequence[releases.Release],
    bench: Bench,
    how: Search,
    say: Say,
    fixed: Sequence[str] = (),
) -> dict[str, FindingAnswer]:
    """Bisect one package's releases for all questions at once; explained answers by finding.

    fixed: requirements that every release is measured together with. Raises BadInput or
    NotRunnable where an end does not show what is claimed.
    """
    walk = _Walk(package, questions, span, bench, say, fixed)
    walk.check()
    try:
        searched = search(
            len(span),
            [q.finding for q in questions],
            walk.evaluate,
            monotonic=how.monotonic,
            exhaustive=how.exhaustive,
            again=walk.again if len(walk.noisy) < len(questions) else None,
            keep=walk.keep,
        )
    except EndError as error:
        raise NotRunnable(
            f"{error.finding}: {package} {span[error.position].version} is not shown to be "
            f"{error.wanted}: {error.outcome.reason}."
        ) from error
    versions = [str(release.version) for release in span]
    return {
        q.finding: replace(
            explain(package, q, searched[q.finding], versions, walk.measured, bench, walk.wanted),
            repeated=q not in walk.noisy,
        )
        for q in questions
    }


def check_measured(good: State, bad: State, first: str, last: str) -> None:
    """Raises BadInput for a metric that neither end has, NotRunnable where nothing is known."""
    if good.value == bad.value == ABSENT and good.kind is bad.kind is Kind.NONE:
        raise BadInput(f"{bad.reason}.")
    for end, state in ((first, good), (last, bad)):
        if state.kind is Kind.LOST:
            raise NotRunnable(f"{end}, an end of the range: {state.reason.rstrip('.')}.")


def check_ends(question: Question, good: State, bad: State, first: str, last: str) -> None:
    """Raises BadInput or NotRunnable where the ends do not show what the user claims."""
    if question.by_verdict and good.kind is Kind.VALUE and good.value != "right":
        raise BadInput(
            f"{first} shows {question.finding} too ({good.text}); give an end without "
            "it to --good, or ask for the value with --metric."
        )
    if question.by_verdict and good.kind is not Kind.VALUE:
        raise NotRunnable(
            f"{first} cannot be judged ({good.text}); give another release to --good or "
            "another --base, or ask with --metric where the error itself is the question."
        )
    if question.by_verdict and bad.kind is Kind.VALUE and bad.value == "right":
        raise BadInput(f"{last} does not show {question.finding}; give an end that does to --bad.")
    if answer(question, bad, good, bad).answer is not Answer.BAD:
        raise BadInput(
            f"{question.finding} is the same at both ends, {first} and {last}: {good.text}; "
            "nothing moved between them that this metric sees."
        )
