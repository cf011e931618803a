"""A metric over the stacks of a matrix: its values, and where it steps.

Exact values step where two neighbours differ by more than their band; noisy ones where E-divisive
says that they change. Each step has the register's entry that explains it, or is an open question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from packaging.version import InvalidVersion, Version

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.compare.register import Change, at_work, explanation
from harness.judging.environments.installed import IDENTIFYING
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.divisive import changes
from harness.judging.matrix.judge import Yardstick
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.memo import Measured
from harness.judging.matrix.table import Point, Step, Timeline, short
from harness.records.record import RUNGS, Metric, Status, Verdict
from harness.records.tensors import read_tensors

# The days of a package's releases, by version.
Days = Callable[[str], Mapping[str, str]]


def timelines(
    metrics: Sequence[str],
    cells: Sequence[Cell],
    outcomes: Mapping[str, Outcome],
    kept: Kept,
    yardstick: Yardstick,
    days: Days,
) -> tuple[Timeline, ...]:
    """Every metric, `RUNG.METRIC[.CASE]`, of every row. Raises BadInput where no cell has it."""
    rows: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.model, cell.recipe, cell.device), []).append(cell)
    lines: list[Timeline] = []
    for metric in metrics:
        rung = rung_of(metric)
        here = [
            _timeline(metric, rung, row, outcomes, kept, yardstick, days) for row in rows.values()
        ]
        if not any(point.why == "" for line in here for point in line.points):
            raise BadInput(
                f"No cell has a value of {metric}; `harness report` of a cell lists them."
            )
        lines += here
    return tuple(lines)


def rung_of(metric: str) -> str:
    """The rung of a metric. Raises BadInput where there is no such rung."""
    rung, dot, _ = metric.partition(".")
    if rung not in RUNGS or not dot:
        raise BadInput(f"--metric {metric!r} is not RUNG.METRIC[.CASE], as forward.loss.left.")
    return rung


def _timeline(
    metric: str,
    rung: str,
    row: Sequence[Cell],
    outcomes: Mapping[str, Outcome],
    kept: Kept,
    yardstick: Yardstick,
    days: Days,
) -> Timeline:
    points: list[Point] = []
    valued: list[tuple[Measured, Metric]] = []
    for cell in row:
        outcome = outcomes.get(cell.key, Outcome(State.PENDING))
        # Only the metric's own rung is read: a cell has ten.
        here = Measured(replace(cell, rungs=(rung,)), kept)
        has = outcome.state in {State.MEASURED, State.DIED} and kept.has_records(cell)
        record = here.records.get(rung) if has else None
        values = [m for m in record.metrics if m.finding_id == metric] if record else []
        points.append(_point(cell, outcome, values))
        if values and values[0].status is Status.OK:
            valued.append((here, values[0]))
    noisy = any(metric_.volatile for _, metric_ in valued)
    steps = _noisy(valued) if noisy else _exact(metric, rung, valued, yardstick)
    unit = valued[0][1].unit if valued else "1"
    place = (row[0].model, row[0].recipe, row[0].device)
    dated = tuple(_dated(step, days) for step in steps)
    return Timeline(metric, *place, unit, noisy, tuple(points), dated)


def _point(cell: Cell, outcome: Outcome, metrics: Sequence[Metric]) -> Point:
    if not metrics:
        why = outcome.reason or outcome.state.value
        return Point(
            cell.stack.label, why=why if outcome.state is not State.MEASURED else "no such value"
        )
    metric = metrics[0]
    if metric.status is not Status.OK:
        return Point(cell.stack.label, why=metric.error or metric.reason or metric.status.value)
    value = median(metric.samples) if metric.samples else short(metric.value)
    return Point(cell.stack.label, value, metric.samples)


def _exact(
    metric: str, rung: str, valued: Sequence[tuple[Measured, Metric]], yardstick: Yardstick
) -> Iterator[Step]:
    for (there, old), (here, new) in pairwise(valued):
        pair = next((p for p in _pairs(rung, there, here, yardstick) if p.finding == metric), None)
        if pair is None or not pair.differs:
            continue
        versions = (_versions(there), _versions(here))
        known = _known(pair, there, here, yardstick)
        step = Step(
            there.cell.stack.label,
            here.cell.stack.label,
            short(old.value),
            short(new.value),
            changes=tuple(change.name for change in known),
        )
        yield _of_release(step, known, *versions)


def _known(pair: Pair, there: Measured, here: Measured, yardstick: Yardstick) -> tuple[Change, ...]:
    """The register's entries that explain a step, each with its cause among what moved besides."""
    versions = (_versions(there), _versions(here))
    family = here.records[pair.rung].provenance.family
    near = at_work(yardstick.register, (), *versions, family)
    causes = {
        rung_of(cause)
        for known in near
        if any(when.metric == pair.metric_id for when in known.change.when)
        for cause in known.change.cause
    }
    others = [
        other
        for rung in sorted(causes)
        for other in _pairs(rung, _at(rung, there), _at(rung, here), yardstick)
        if other.differs or other.verdict is Verdict.SAME
    ]
    return explanation(pair, at_work(yardstick.register, others, *versions, family))


def _at(rung: str, measured: Measured) -> Measured:
    """A cell with another of its rungs."""
    return Measured(replace(measured.cell, rungs=(rung,)), measured.kept)


def _pairs(rung: str, there: Measured, here: Measured, yardstick: Yardstick) -> tuple[Pair, ...]:
    """Of one rung; none where either side has no record of it."""
    if rung not in there.records or rung not in here.records:
        return ()
    return pair_records(
        there.records[rung],
        here.records[rung],
        yardstick.bands,
        (*yardstick.goldens, *there.own_truths, *here.own_truths),
        (read_tensors(there.folder, rung), read_tensors(here.folder, rung)),
    )


def _noisy(valued: Sequence[tuple[Measured, Metric]]) -> Iterator[Step]:
    """Of a time and the like the register says nothing: every step is a question."""
    groups = [_samples(metric) for _, metric in valued]
    for index in changes(groups) if groups else ():
        there, here = valued[index - 1][0], valued[index][0]
        step = Step(
            there.cell.stack.label,
            here.cell.stack.label,
            median(groups[index - 1]),
            median(groups[index]),
            how="E-divisive",
        )
        yield _of_release(step, (), _versions(there), _versions(here))


def _samples(metric: Metric) -> tuple[float, ...]:
    if metric.samples:
        return metric.samples
    if isinstance(metric.value, int | float) and not isinstance(metric.value, bool):
        return (float(metric.value),)
    raise BadInput(f"{metric.finding_id} differs between runs and is no number; it has no steps.")


def _versions(cell: Measured) -> Mapping[str, str]:
    return next(iter(cell.records.values())).provenance.versions


def _of_release(
    step: Step, known: Sequence[Change], old: Mapping[str, str], new: Mapping[str, str]
) -> Step:
    """A step with the release that brought it: the register's, else that of the one library of the
    recipe's own that differs; what comes along with it, as tokenizers, is its affair."""
    if known:
        return replace(step, library=known[0].library, release=_crossed(known[0], old, new))
    differing = [n for n in IDENTIFYING if n in new and old.get(n) != new[n]]
    if len(differing) == 1:
        return replace(step, library=differing[0], release=new[differing[0]])
    return step


def _crossed(change: Change, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The release at which a change came, or going back went."""
    try:
        forward = Version(old[change.library]) < Version(new[change.library])
    except (InvalidVersion, KeyError):
        return change.first
    return change.first if forward else change.before


def _dated(step: Step, days: Days) -> Step:
    if not step.library:
        return step
    return replace(step, released=days(step.library).get(step.release, ""))
