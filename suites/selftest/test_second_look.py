"""What may be noise is measured again before it is an alarm, and what was exact never is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.compare import question
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.document import document_of, read_comparison, write_comparison
from harness.judging.compare.pairs import Pair
from harness.judging.compare.second import noisy_rungs, settle
from harness.judging.compare.sides import Side
from harness.judging.compare.spec import CompareSpec
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.report.ci.outcomes import State, of_comparison
from harness.judging.report.upgrade.page import comparison_page
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.record import Metric, Provenance, Record, Verdict, write_record
from suites.selftest.comparisons import broken, comparison, pair

NOISY = Band(BandKind.RELATIVE, 0.02, "measured")
NORM, LOSS = "trajectory.grad_norm.4", "forward.loss.left"


def noisy(finding: str, verdict: Verdict = Verdict.CHANGED) -> Pair:
    return pair(finding, verdict, band=NOISY)


@pytest.mark.parametrize(
    ("pairs", "rungs"),
    [
        ([noisy(NORM)], ("trajectory",)),
        ([noisy(NORM), noisy(LOSS)], ("forward", "trajectory")),
        # Exact values before it explain it; those after it do not.
        ([noisy(NORM), pair("ids.encoded.a")], ()),
        ([noisy(NORM), pair("trajectory.optimizer")], ()),
        ([noisy(LOSS), pair("generation.texts")], ("forward",)),
        # What is installed always differs, and moves no number by itself.
        (
            [noisy(NORM), pair("environment.differs"), broken("interface.call", "new")],
            ("trajectory",),
        ),
        # An error, a bound, and what needs both stacks at once are no noise.
        ([broken(NORM, "new")], ()),
        ([pair(NORM, band=Band(BandKind.AT_MOST, 1.0))], ()),
        ([noisy("trajectory.adapter_read.saved_by_old")], ()),
        ([noisy(NORM, Verdict.SAME)], ()),
    ],
)
def test_only_what_may_be_noise_is_looked_at_again(
    pairs: Sequence[Pair], rungs: tuple[str, ...]
) -> None:
    assert noisy_rungs(pairs) == rungs


def test_what_does_not_come_back_is_spurious() -> None:
    calm = noisy(NORM, Verdict.SAME)
    pairs, looks = settle([noisy(NORM), noisy(LOSS)], [calm, noisy(LOSS)])
    assert pairs == (calm, noisy(LOSS))
    assert [(look.first.finding, look.came_back) for look in looks] == [(NORM, False), (LOSS, True)]
    # An exact difference on the first look stays, whatever the second says.
    exact = pair("trajectory.optimizer")
    assert settle([exact], [replace(exact, verdict=Verdict.SAME)]) == ((exact,), ())


# By look and side what a stack's training comes to.
Told = Mapping[tuple[str, str], float]
CAME: Told = {
    ("first", "old"): 1.0,
    ("first", "new"): 1.5,
    ("again", "old"): 1,
    ("again", "new"): 1.5,
}
WENT: Told = {**CAME, ("again", "new"): 1.001}


class View:
    def __init__(self) -> None:
        self.said: list[str] = []

    def tick(self) -> None:
        """Nobody interrupts."""

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Told], Comparison]:
    """compare_sides on two stacks whose rung 11 is what is told of each look."""
    asked: list[tuple[int, tuple[str, ...]]] = []

    def measured(
        sides: Sequence[Side], rungs: Sequence[str], tick: object, *, at_once: int, **rest: object
    ) -> list[dict[str, Record]]:
        asked.append((at_once, tuple(rungs)))
        told = []
        for side in sides:
            look = "again" if "again" in side.out.parts else "first"
            place = Provenance("s", "m", "d", "cpu-x", "r", "s", family="qwen2_vl")
            metric = Metric("trajectory", "grad_norm", "4", values[look, side.name])
            record = Record("trajectory", place, (metric,), 1.0)
            write_record(record, side.out)
            told.append({"trajectory": record})
        return told

    values: dict[tuple[str, str], float] = {}
    monkeypatch.setattr(question, "measure_sides", measured)
    monkeypatch.setattr(question, "cross_adapters", lambda *words, **rest: None)
    monkeypatch.setattr(question, "try_causes", lambda *words, **rest: [])

    def judge(told: Told) -> Comparison:
        values.update(told)
        context = Context("s", "m", "d", tmp_path, True, tmp_path, family="qwen2_vl")
        sides = [Side(n, n, tmp_path / n, tmp_path, context) for n in ("old", "new")]
        spec = CompareSpec("old", "new", Request("", "m", "d"), ("trajectory",))
        answer = question.compare_sides(spec, (sides[0], sides[1]), View())
        # Alone: one side after the other.
        assert asked[1:] == [(1, ("trajectory",))]
        return answer

    return judge


def test_noise_raises_nothing_and_stays_in_record_and_page(
    judged: Callable[[Told], Comparison], tmp_path: Path
) -> None:
    answer = judged(WENT)
    assert answer.exit_code == 0
    assert answer.findings == ()
    assert "1 spurious, gone when measured again" in answer.headline
    write_comparison(document_of(answer), tmp_path)
    (look,) = read_comparison(tmp_path).looks
    assert (look.id, look.first, look.again) == (NORM, (1.0, 1.5), (1.0, 1.001))
    assert not look.came_back
    page = comparison_page(answer)
    assert "is spurious" in page
    assert page.count("1.001") == 1
    (outcome,) = of_comparison(answer).of(State.KNOWN)
    assert (outcome.name, outcome.what) == (NORM, "spurious")


def test_what_comes_back_is_an_alarm(judged: Callable[[Told], Comparison]) -> None:
    answer = judged(CAME)
    assert answer.exit_code == 1
    assert [finding.pair.finding for finding in answer.red] == [NORM]
    assert answer.spurious == ()
    assert "came back" in comparison_page(answer)


def test_nothing_is_looked_at_again_without_need() -> None:
    page = comparison_page(comparison([pair("inputs.mask_gap.left", Verdict.SAME)]))
    assert "Nothing had to be." in page
