"""What a bisect asks of a release, and how one release's records answer it.

A question is a metric's case. Its *state* is its value, or its error, or NOT_RUN; for a
finding that has a golden, its verdict. GOOD is the good end's state; BAD is any other value, or
the bad end's error. Another error, be it of the same type, or a release that could not be
measured, decides nothing: SKIP.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.judging.audit.holding import truth_of
from harness.judging.bisect.failures import own_words
from harness.judging.bisect.search import Answer, Outcome
from harness.judging.goldens.bands import EXACT
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.values import stored, tensor_gap, within
from harness.judging.goldens.verdicts import judge
from harness.judging.workers.measure import DIED
from harness.records.context import TRAINING_FAMILY
from harness.records.record import Metric, Record, Status, Verdict
from harness.records.tensors import read_tensors
from harness.records.typed import Json

if TYPE_CHECKING:
    import numpy.typing as npt

# The value of a state whose rung was measured and has no such metric.
ABSENT = "absent"
# What a golden that applies here can say; any other verdict is none about the release.
VERDICTS = {
    Verdict.SAME: "right",
    Verdict.IMPROVED: "right",
    Verdict.CHANGED: "wrong",
    Verdict.WORSE: "wrong",
}


@dataclass(frozen=True)
class Question:
    """finding: `rung.metric[.case]`. band: how far a value may move and still be the good one, by
    the rule of a comparison (None: not said; exact, and of a time noisy.BAND). by_verdict: ask for
    the golden's verdict, not for the value."""

    finding: str
    band: Band | None = None
    by_verdict: bool = False

    @property
    def rung(self) -> str:
        """The only rung that has to be measured."""
        return self.finding.split(".", 1)[0]


class Kind(StrEnum):
    """What sort of answer a release gives."""

    VALUE = "value"
    ERROR = "error"
    NONE = "none"  # NOT_RUN or no such metric: a state like any other
    LOST = "lost"  # not installed, died, not judged: nothing is known, so like no other state


@dataclass(frozen=True)
class State:
    """What a release shows. value: the value, the verdict, or the error's type. reason: the
    error, or why there is none.

    words: of an error the library's own. tensor: the data of a value that is a tensor, where the
    band leaves it room.
    """

    kind: Kind
    value: Json = None
    reason: str = ""
    words: str = field(default="", compare=False)
    tensor: npt.NDArray[Any] | None = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """For people, short."""
        shown = self.value if self.kind is Kind.VALUE else self.reason
        return str(shown)[:300]


def state_of(
    question: Question, records: Mapping[str, Record], folder: Path | None = None
) -> State:
    """The state of one question in a release's records. folder: where the records lie."""
    record = records[question.rung]
    metrics = {m.finding_id: m for m in record.metrics}
    metric = metrics.get(question.finding)
    if metric is None:
        metric = next((m for m in record.metrics if m.name == "probe"), None)
    if metric is None:
        return State(Kind.NONE, ABSENT, _unknown(question, tuple(metrics)))
    if metric.status is Status.BROKEN:
        return _failed(metric)
    if metric.status is Status.NOT_RUN:
        return State(Kind.NONE, reason=metric.reason or "no reason given")
    if question.by_verdict:
        verdict = _verdict(question, record, folder)
        if verdict is None:
            return State(
                Kind.LOST,
                reason=f"no golden judges {question.finding} here; ask for its value with --metric",
            )
        return State(Kind.VALUE, verdict, str(metric.value)[:1000])
    return State(Kind.VALUE, metric.value, tensor=_tensor(question, metric.value, folder))


def _tensor(question: Question, value: Json, folder: Path | None) -> npt.NDArray[Any] | None:
    """A tensor's data. Without a band its digest says all; as in a comparison, only an absolute
    band leaves it room."""
    if folder is None or question.band is None or question.band.kind is not BandKind.ABSOLUTE:
        return None
    return stored(value, read_tensors(folder, question.rung))


def _unknown(question: Question, recorded: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(question.finding, recorded, 4) or sorted(recorded)[:4]
    return f"There is no {question.finding}; near it are {', '.join(near)}"


def _failed(metric: Metric) -> State:
    failure = metric.failure
    assert failure is not None
    # A process that died says nothing about the library's answer.
    kind = Kind.LOST if failure.type == DIED else Kind.ERROR
    return State(kind, failure.type, metric.error_without_place, failure.message)


def _verdict(question: Question, record: Record, folder: Path | None) -> str | None:
    goldens: Sequence[Golden] = goldens_for(*([folder] if folder else []))
    if record.provenance.family == TRAINING_FAMILY and folder is not None:
        # Of a user's training its own check says what is right.
        truth = truth_of(folder, question.finding)
        goldens = (truth,) if truth else ()
    judged = judge({question.rung: record}, goldens, ())
    item = next((i for i in judged.items if i.finding == question.finding), None)
    if item is None or item.kind == "status":
        return None
    return VERDICTS.get(item.verdict)


def answer(question: Question, state: State, good: State, bad: State) -> Outcome:
    """GOOD, BAD or SKIP, given what the two ends show."""
    if _same(question, state, good):
        return Outcome(Answer.GOOD, state.text)
    if state.kind is Kind.VALUE or _same(question, state, bad):
        return Outcome(Answer.BAD, state.text)
    return Outcome(Answer.SKIP, state.text)


def _same(question: Question, state: State, other: State) -> bool:
    if state.kind is not other.kind or state.kind is Kind.LOST:
        return False
    if state.kind is Kind.NONE:
        return True
    if state.kind is Kind.ERROR:
        return state.value == other.value and own_words(state.words) == own_words(other.words)
    if question.by_verdict:
        return state.value == other.value
    band = question.band or EXACT
    if within(band, other.value, state.value):
        return True
    gap = tensor_gap(other.tensor, state.tensor)
    return gap is not None and gap <= band.limit


def is_noisy(question: Question, records: Mapping[str, Record]) -> bool:
    """Whether the metric is a time, by its own mark."""
    record = records.get(question.rung)
    metrics = record.metrics if record else ()
    return any(m.volatile for m in metrics if m.finding_id == question.finding)
