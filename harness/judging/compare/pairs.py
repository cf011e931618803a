"""Two records of one rung, metric by metric: a pure function, nothing is measured or read.

Each metric becomes a Pair: its verdict between the sides, and how each side stands against the
truth where there is one, so that a fix is never taken for a regression.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harness.errors import Lack
from harness.judging.goldens.bands import EXACT, Allowed, Bands
from harness.judging.goldens.conditions import Condition, differing_conditions
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.judgement import LEFT_OUT, Facts, facts_of
from harness.judging.goldens.scope import holding
from harness.judging.goldens.values import (
    Tensors,
    distance,
    inside,
    is_tensor,
    stored,
    tensor_gap,
    within,
)
from harness.records.failure import Failure
from harness.records.record import Direction, Metric, Record, Status, Verdict
from harness.records.typed import Json

# What crossing.py adds to rung 11: it needs both stacks at once, no stack measures it by itself.
CROSSED = frozenset({"adapter_read", "adapter_lost"})


@dataclass(frozen=True)
class Side:
    """One side of a pair. status: None where there is no such metric. error: the failure, or why
    there is no value, for people. right: against the truth, None where there is none or nothing was
    measured. lack, blocked_by: of what was not run, as its metric has them."""

    status: Status | None
    value: Json = None
    how: str = "not run"
    error: str = ""
    right: bool | None = None
    note: str = ""
    failure: Failure | None = None
    lack: Lack | None = None
    blocked_by: str = ""

    @property
    def is_blocked(self) -> bool:
        """Whether it is missing because another value broke."""
        return self.lack is Lack.FINDING

    @property
    def is_absent(self) -> bool:
        """Whether there is no such metric because its probe broke as a whole."""
        return self.status is None and self.is_blocked


@dataclass(frozen=True)
class Pair:
    """One metric on both sides.

    verdict: from OLD to NEW. broken: which sides are, `old`, `new`, `both` or ``. standing:
    against the truth: `fixed`, `broke`, `both wrong`, `both right`, or `` without a truth.
    gap: largest distance of two numbers or tensors, None otherwise. reason: the truth's, or why
    the records cannot be compared; conditions: what differs between them then.
    """

    finding: str
    rung: str
    metric: str
    case: str
    verdict: Verdict
    old: Side
    new: Side
    band: Band = EXACT
    origin: str = "exact"
    broken: str = ""
    standing: str = ""
    truth: Json = None
    unit: str = "1"
    direction: Direction = Direction.NONE
    gap: float | None = None
    reason: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def metric_id(self) -> str:
        """`<rung>.<metric>`."""
        return f"{self.rung}.{self.metric}"

    @property
    def failure(self) -> Failure | None:
        """What one side broke with; None where neither did, or both."""
        broken = {"old": self.old, "new": self.new}.get(self.broken)
        return broken.failure if broken else None

    @property
    def differs(self) -> bool:
        """Whether the two sides tell different things; both broken tell nothing of an upgrade."""
        return self.verdict in DIFFERENT and self.broken != "both"


DIFFERENT = frozenset({Verdict.CHANGED, Verdict.IMPROVED, Verdict.WORSE, Verdict.BROKEN})


def _side(metric: Metric | None, truth: Golden | None, absent: Side) -> Side:
    if metric is None:
        return absent
    if metric.status is Status.BROKEN:
        error = metric.error or "unknown error"
        return Side(metric.status, how=metric.how.value, error=error, failure=metric.failure)
    if metric.status is Status.NOT_RUN:
        return Side(
            metric.status,
            error=metric.reason or "no reason given",
            lack=metric.lack,
            blocked_by=metric.blocked_by,
        )
    right = None
    if truth is not None:
        right = inside(truth.band, truth.cases[metric.case or ""], metric.value)
    return Side(metric.status, metric.value, metric.how.value, right=right, note=metric.note or "")


def _absent(record: Record) -> Side:
    """What stands for a metric that is not in a record: its probe broke as a whole, could not be
    run, or left it out."""
    probe = next((m for m in record.metrics if m.is_whole_probe), None)
    if probe is not None and probe.status is Status.BROKEN:
        error = f"{probe.finding_id} is BROKEN"
        return Side(None, error=error, lack=Lack.FINDING, blocked_by=probe.finding_id)
    if probe is not None and probe.status is Status.NOT_RUN:
        why = probe.reason or LEFT_OUT
        return Side(None, error=why, lack=probe.lack, blocked_by=probe.blocked_by)
    return Side(None, error=LEFT_OUT, lack=Lack.METRIC)


def _standing(old: Side, new: Side) -> str:
    names = {
        (False, True): "fixed",
        (True, False): "broke",
        (False, False): "both wrong",
        (True, True): "both right",
    }
    if old.right is None or new.right is None:
        # An error is no answer: with a truth on the other side it is wrong too.
        broken = [s for s in (old, new) if s.status is Status.BROKEN]
        if len(broken) == 1 and (old.right or new.right):
            return "fixed" if old.status is Status.BROKEN else "broke"
        return ""
    return names[old.right, new.right]


def _direction_verdict(pair: Pair) -> Verdict:
    """IMPROVED or WORSE where a truth or the metric's direction says which, else CHANGED."""
    if pair.standing in {"fixed", "broke"}:
        return Verdict.IMPROVED if pair.standing == "fixed" else Verdict.WORSE
    a, b = pair.old.value, pair.new.value
    plain = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    # Two wrong values, or two right ones, have no better one among them.
    if pair.direction is Direction.NONE or not plain or pair.standing:
        return Verdict.CHANGED
    better = (b > a) == (pair.direction is Direction.HIGHER)  # type: ignore[operator]
    return Verdict.IMPROVED if better else Verdict.WORSE


def _measured(
    pair: Pair, old: Metric, new: Metric, allowed: Allowed, tensors: tuple[Tensors, Tensors]
) -> Pair:
    gap = distance(old.value, new.value)
    same = within(allowed.band, old.value, new.value)
    if is_tensor(old.value) and is_tensor(new.value) and not same:
        gap = tensor_gap(stored(old.value, tensors[0]), stored(new.value, tensors[1]))
        alike = old.value["dtype"] == new.value["dtype"]  # type: ignore[index,call-overload]
        if alike and gap is not None and allowed.band.kind is BandKind.ABSOLUTE:
            same = gap <= allowed.band.limit
    pair = replace(pair, gap=gap, band=allowed.band, origin=allowed.origin)
    if same and pair.standing not in {"fixed", "broke"}:
        return replace(pair, verdict=Verdict.SAME)
    return replace(pair, verdict=_direction_verdict(pair))


def _pair(
    old: Metric | None,
    new: Metric | None,
    bands: Bands,
    truth: Golden | None,
    tensors: tuple[Tensors, Tensors],
    absent: tuple[Side, Side],
) -> Pair:
    metric = new or old
    assert metric is not None
    case = metric.case or ""
    sides = _side(old, truth, absent[0]), _side(new, truth, absent[1])
    pair = Pair(
        metric.finding_id,
        metric.rung,
        metric.name,
        case,
        Verdict.NOT_RUN,
        *sides,
        standing=_standing(*sides),
        truth=None if truth is None else truth.cases[case],
        unit=metric.unit,
        direction=metric.direction,
        reason="" if truth is None else truth.reason,
    )
    broken = [
        name
        for name, side in zip(("old", "new"), sides, strict=True)
        if side.status is Status.BROKEN
    ]
    if broken == ["old"] and sides[1].is_absent:
        # NEW never came to this value: its probe is the finding.
        return pair
    if broken:
        # Nor did OLD, but that NEW comes no further must not vanish behind it.
        which = "both" if len(broken) == 2 or sides[0].is_absent else broken[0]
        return replace(pair, verdict=Verdict.BROKEN, broken=which)
    if old is None or new is None or Status.NOT_RUN in {old.status, new.status}:
        return pair
    return _measured(pair, old, new, bands.of(metric.metric_id, truth), tensors)


def pair_records(
    old: Record,
    new: Record,
    bands: Bands,
    goldens: Iterable[Golden] = (),
    tensors: tuple[Tensors, Tensors] = ({}, {}),
) -> tuple[Pair, ...]:
    """Every metric of one rung on both sides, by finding id.

    Records of other conditions give one NOT_COMPARABLE pair that names them. Times (volatile
    metrics) and what the bands leave out are not compared. Raises ValueError on two rungs.
    """
    if old.rung != new.rung:
        raise ValueError(f"{old.rung} cannot be compared with {new.rung}")
    conditions = differing_conditions(old, new)
    if conditions:
        nothing = Side(None)
        return (
            Pair(
                f"{old.rung}.record",
                old.rung,
                "record",
                "",
                Verdict.NOT_COMPARABLE,
                nothing,
                nothing,
                reason="; ".join(condition.sentence for condition in conditions),
                conditions=conditions,
            ),
        )
    facts: Facts = facts_of({old.rung: old})
    truths = {
        (golden.metric, case): golden
        for golden in holding(goldens, facts)
        if golden.kind == "truth" and golden.rung == old.rung
        for case in golden.cases
    }
    absent = (_absent(old), _absent(new))
    before = {m.finding_id: m for m in old.metrics}
    after = {m.finding_id: m for m in new.metrics}
    pairs = []
    for finding in sorted({*before, *after}):
        one, other = before.get(finding), after.get(finding)
        metric = other or one
        assert metric is not None
        here = [m for m in (one, other) if m]
        # A time on one side and an error on the other is no difference of times.
        timed = any(m.volatile for m in here) and not any(m.status is Status.BROKEN for m in here)
        if metric.metric_id in bands.left_out or timed:
            continue
        truth = truths.get((metric.name, metric.case or ""))
        pairs.append(_pair(one, other, bands, truth, tensors, absent))
    return tuple(pairs)
