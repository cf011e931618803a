"""The smallest fault of each quantity that turns its own rung red: measured, by bisection.

One measuring process a round takes one size of every quantity, so that the libraries are imported
once a round. Sizes are halved on a logarithmic scale until the smallest that was reported and the
largest that was not are within a factor of `PRECISION`. Where a rung is red without a fault, what
is red in addition is what reports one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.judging.goldens.judgement import Judgement
from harness.judging.workers.measure import LIMIT_S, Progress
from harness.judging.workers.process import child_environment, offline, outcome_of, raise_for
from harness.records.context import Context
from harness.records.jobs import PlantedJob, Try, write_job
from harness.records.power import Quantity, Seen
from harness.records.record import Record, read_record

PRECISION = 2.0
PLAIN = "plain"
# The rungs that look at a trained adapter, and the one that trains it.
TRAINED, TRAINING = ("trajectory", "generation"), "trajectory"


@dataclass(frozen=True)
class Search:
    """Where the search for one quantity stands. low: the largest size that was not reported, or the
    smallest that is looked at; high: the smallest that was reported, None for none yet."""

    quantity: Quantity
    low: float
    high: float | None = None
    finding: str = ""
    tries: int = 0
    given_up: bool = False

    @property
    def is_done(self) -> bool:
        """Whether no further size is to be tried."""
        if self.given_up or not self.quantity.is_graded:
            return self.given_up or self.tries > 0
        if self.high is None or self.high == self.quantity.smallest:
            return self.high is not None
        return self.tries > 1 and self.high / self.low <= PRECISION

    @property
    def next_size(self) -> float:
        """The size to try: the largest first, then the smallest, which ends it where the rung is
        exact, then what lies between."""
        if self.high is None:
            return self.quantity.largest
        return self.quantity.smallest if self.tries == 1 else math.sqrt(self.low * self.high)

    def after(self, size: float, finding: str) -> Search:
        """The search once that size was measured. finding: the first red one, "" for none."""
        if finding:
            return replace(self, high=size, finding=finding, tries=self.tries + 1)
        # Nothing is reported of the largest there is.
        over = self.high is None
        return replace(self, low=size, tries=self.tries + 1, given_up=over)

    def seen(self, *, red_without: bool) -> Seen:
        """What the table says of it."""
        quantity = self.quantity
        nothing_smaller = self.high == quantity.smallest
        unseen = 0.0 if nothing_smaller else self.low
        name, rung = quantity.name, quantity.rung
        return Seen(name, rung, self.high, unseen, self.finding, self.tries, red_without)


def first_red(judgement: Judgement, without: frozenset[str] = frozenset()) -> str:
    """The first unexpected finding, "" for none. without: what is one without a fault, too."""
    return next((red.finding for red in judgement.red if red.finding not in without), "")


def search(
    context: Context,
    quantities: Sequence[Quantity],
    judged: Callable[[Mapping[str, Record]], Judgement],
    python: Path,
    progress: Progress,
) -> tuple[tuple[Seen, ...], Record]:
    """What became of every quantity, and one record without a fault. judged: of one rung's record
    what a verdict says of it. Raises HarnessError where the measuring process dies."""
    rungs = list(dict.fromkeys(quantity.rung for quantity in quantities))
    plain = [attempt(context.out, PLAIN, rung) for rung in rungs]
    records = _measured(context, plain, python)
    without = {
        t.rung: frozenset(red.finding for red in judged({t.rung: r}).red)
        for t, r in zip(plain, records, strict=True)
    }
    searches = [Search(q, q.smallest) for q in quantities]
    round_ = 0
    while todo := [s for s in searches if not s.is_done]:
        round_ += 1
        progress(f"round {round_}: {len(todo)} quantities, from {PRECISION:g} times apart it ends")
        folder = f"round-{round_:02d}"
        tries = [
            attempt(context.out, folder, s.quantity.rung, s.quantity, s.next_size) for s in todo
        ]
        measured = _measured(context, tries, python)
        for one, each, record in zip(todo, tries, measured, strict=True):
            finding = first_red(judged({each.rung: record}), without[each.rung])
            searches[searches.index(one)] = one.after(each.size, finding)
    seen = tuple(s.seen(red_without=bool(without[s.quantity.rung])) for s in searches)
    return seen, records[0]


def attempt(
    out: Path, folder: str, rung: str, quantity: Quantity | None = None, size: float = 0.0
) -> Try:
    """One measurement, without a fault where no quantity is given. The trained adapter is the plain
    training's, unless the fault is one of the training, or it is that training."""
    name = quantity.name if quantity else ""
    training: Path | None = out / PLAIN / TRAINING / "training"
    if rung not in TRAINED or (quantity.trains if quantity else rung == TRAINING):
        training = None
    return Try(name, rung, size, out / folder / (name or rung).replace(" ", "-"), training)


def _measured(context: Context, tries: Sequence[Try], python: Path) -> list[Record]:
    """Their records; those that an interrupted search has left are not measured again."""
    todo = [each for each in tries if not _record_path(each).is_file()]
    if todo:
        _measure(context, todo, python)
    return [read_record(_record_path(each)) for each in tries]


def _record_path(each: Try) -> Path:
    return each.out / f"{each.rung}.json"


def _measure(context: Context, tries: Sequence[Try], python: Path) -> None:
    job = context.out / "work" / "planted.job.json"
    log = context.out / "logs" / "planted.log"
    write_job(job, PlantedJob(context, tuple(tries), LIMIT_S))
    environment = offline(child_environment(context.threads, context.device))
    outcome = outcome_of(context.out, python, job, environment, log, lambda: None, LIMIT_S)
    if outcome.code:
        raise_for(outcome.code, job)
        raise HarnessError(f"The measuring process ended early; the log is {log}.")
