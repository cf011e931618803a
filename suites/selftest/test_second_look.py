"""What may be noise is measured again before it is an alarm, and what was exact never is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.commands import _verdict, run
from harness.judging.compare import question
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.document import document_of, read_comparison, write_comparison
from harness.judging.compare.pairs import Pair
from harness.judging.compare.second import noisy_rungs, settle
from harness.judging.compare.sides import Side
from harness.judging.compare.spec import CompareSpec
from harness.judging.goldens import second as of_run
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.judgement import Facts, Judged, Judgement
from harness.judging.goldens.verdicts import judge
from harness.judging.report.ci.compared import of_comparison
from harness.judging.report.ci.outcomes import State, of_judgement
from harness.judging.report.run.findings import findings
from harness.judging.report.upgrade.page import comparison_page
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.record import RUNGS, Metric, Provenance, Record, Verdict, write_record
from suites.commands import Command
from suites.selftest.comparisons import broken, comparison, pair
from suites.selftest.report_run import PROVENANCE, golden, metric, record

NOISY = Band(BandKind.RELATIVE, 0.02, "measured")
OBSERVED = Facts("reference", "stand-in", "catalogue", "cpu-x", "stand-in", "qwen2_vl")
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
        # What is exact and the same explains nothing, nor does what neither side could do.
        ([noisy(NORM), pair("ids.encoded.a", Verdict.SAME)], ("trajectory",)),
        ([noisy(NORM), broken("ids.encoded.a", "both")], ("trajectory",)),
        # Of two exact ones the first decides.
        ([pair("ids.encoded.a"), noisy(LOSS), pair("update.optimizer")], ()),
        ([noisy(LOSS), pair("generation.texts")], ("forward",)),
        # What is installed always differs, and moves no number by itself.
        (
            [noisy(NORM), pair("environment.differs"), broken("interface.call", "new")],
            ("trajectory",),
        ),
        # An error, a bound, and what needs both stacks at once are no noise.
        ([broken(NORM, "new")], ()),
        ([replace(broken(NORM, "new"), band=NOISY)], ()),
        ([replace(broken(NORM, "old"), band=NOISY)], ()),
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


def a_run(loss: float, text: str = "right") -> dict[str, Record]:
    return {
        "text": record("text", metric("text", "rendered", text)),
        "forward": record("forward", metric("forward", "loss", loss)),
    }


OBSERVED = replace(
    golden("forward", "loss", 2.5, band=Band(BandKind.RELATIVE, 0.01, "ten runs")),
    kind="observed",
    model="stand-in",
    stack="reference",
    device_key="cpu-x86_64-avx512",
    provenance={"recipe": PROVENANCE.recipe},
)
HELD_TO = (golden("text", "rendered", "right"), OBSERVED)


def run_judged(loss: float, text: str = "right") -> Judgement:
    return judge(a_run(loss, text), HELD_TO, ())


@pytest.mark.parametrize(
    ("judgement", "rungs"),
    [
        (run_judged(2.6), ("forward",)),
        (run_judged(2.51), ()),
        # A text that is wrong explains a loss that is off; a truth's band is no noise.
        (run_judged(2.6, "wrong"), ()),
        (judge(a_run(2.6), (replace(OBSERVED, kind="truth", stack="", device_key=""),), ()), ()),
    ],
)
def test_of_a_run_only_observed_numbers_are_looked_at_again(
    judgement: Judgement, rungs: tuple[str, ...]
) -> None:
    assert of_run.noisy_rungs(judgement) == rungs


def test_a_run_whose_finding_does_not_come_back_is_not_red() -> None:
    first = run_judged(2.6)
    assert first.exit_code == 1
    calm = of_run.settled(first, judge({"forward": a_run(2.51)["forward"]}, HELD_TO, ()))
    assert calm.exit_code == 0
    (item,) = calm.spurious
    assert (item.finding, item.first_look, item.now) == ("forward.loss", 2.6, 2.51)
    assert "1 spurious, gone when measured again" in calm.headline
    (outcome,) = of_judgement(calm).of(State.KNOWN)
    assert outcome.what == "spurious"
    page = str(findings(calm, {}))
    assert "Spurious (1)" in page
    assert "forward.loss: 2.6" in page
    assert "Nothing: it did not come back." in page
    assert "noise, which raises nothing" in page
    back = of_run.settled(first, judge({"forward": a_run(2.7)["forward"]}, HELD_TO, ()))
    assert (back.exit_code, back.spurious) == (1, ())
    assert "Spurious" not in str(findings(back, {}))


def test_a_report_knows_the_second_look_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measures nothing, and still calls nothing an alarm that the run called spurious."""
    monkeypatch.setattr(_verdict, "goldens_for", lambda *words, **rest: HELD_TO)
    monkeypatch.setattr(_verdict, "read_expected", lambda *words, **rest: ())
    for each in a_run(2.6).values():
        write_record(each, tmp_path)
    assert _verdict.judged_folder(tmp_path)[1].exit_code == 1
    write_record(a_run(2.51)["forward"], of_run.again_folder(tmp_path))
    judgement = _verdict.judged_folder(tmp_path)[1]
    assert (judgement.exit_code, len(judgement.spurious)) == (0, 1)


def test_a_run_looks_again_before_it_is_red(
    tmp_path: Path, harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rung alone, in a folder of its own; its page, its document and its code know the second
    look."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def measured(context: Context, rungs: Sequence[str], *words: object, **rest: object) -> object:
        asked.append((context.out.name, tuple(rungs)))
        told = a_run(2.51 if context.out.name == "again" else 2.6)
        for rung in told.keys() & set(rungs):
            write_record(told[rung], context.out)
        return told

    def looked_up(request: object, out: Path, *words: object) -> Context:
        return Context("reference", "stand-in", "catalogue", tmp_path, True, out)

    monkeypatch.setattr(_verdict, "goldens_for", lambda *words, **rest: HELD_TO)
    monkeypatch.setattr(_verdict, "read_expected", lambda *words, **rest: ())
    monkeypatch.setattr(run, "python_of", lambda stack, screen: tmp_path)
    monkeypatch.setattr(run, "new_context", looked_up)
    monkeypatch.setattr(run, "measure", measured)
    ended = harness("run", "--out", tmp_path / "mine", "--json")
    assert asked == [("mine", RUNGS), ("again", ("forward",))]
    assert ended.code == 0, ended.stderr
    assert "a second look, alone, at what may be noise: forward" in ended.stderr
    looks = {item["finding"]: item["first_look"] for item in json.loads(ended.stdout)["items"]}
    assert looks["forward.loss"] == 2.6
    assert "Spurious (1)" in (tmp_path / "mine" / "report.html").read_text("utf-8")
    assert harness("report", tmp_path / "mine").code == 0


def test_of_two_exact_findings_of_a_run_the_first_decides_where_to_look_again() -> None:
    """What is noisy after it may follow from it."""
    items = [
        Judged(f"{rung}.x", rung, Verdict.CHANGED, "observed", 1.0, 2.0, band, "measured", "")
        for rung, band in (("ids", Band()), ("forward", NOISY), ("update", Band()))
    ]
    assert all(item.is_red for item in items)
    alone = Judgement(OBSERVED, tuple(items[1:]), RUNGS)
    assert of_run.noisy_rungs(alone) == ("forward",)
    assert of_run.noisy_rungs(replace(alone, items=tuple(items))) == ()


@pytest.mark.parametrize(
    ("changes", "noise"),
    [
        ({}, True),
        ({"verdict": Verdict.WORSE}, True),
        ({"band": Band(BandKind.ABSOLUTE, 0.5, "measured")}, True),
        # An error, a truth, a bound, what is exact and what is no finding are none.
        ({"verdict": Verdict.BROKEN}, False),
        ({"kind": "truth"}, False),
        ({"kind": "expected"}, False),
        ({"band": Band(BandKind.AT_MOST, 0.5, "measured")}, False),
        ({"band": Band()}, False),
        ({"verdict": Verdict.SAME}, False),
        ({"verdict": Verdict.IMPROVED}, False),
        ({"verdict": Verdict.NOT_RUN}, False),
    ],
)
def test_of_a_run_only_a_measured_distance_may_be_noise(
    changes: dict[str, object], noise: bool
) -> None:
    item = Judged(LOSS, "forward", Verdict.CHANGED, "observed", 1.0, 2.0, NOISY, "measured", "")
    assert of_run.may_be_noise(replace(item, **changes)) is noise  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("band", "known", "calm"), [(NOISY, False, True), (NOISY, True, False), (Band(), False, False)]
)
def test_only_an_unexpected_distance_is_settled(band: Band, known: bool, calm: bool) -> None:
    """What is exact, or known anyway, stands as it was seen first."""
    first = Judged(LOSS, "forward", Verdict.CHANGED, "observed", 1.0, 2.0, band, "measured", "")
    first = replace(first, known=known)
    again = replace(first, verdict=Verdict.SAME, now=1.0)
    judgement = Judgement(OBSERVED, (first,), ("forward",))
    (item,) = of_run.settled(judgement, replace(judgement, items=(again,))).items
    assert item == (replace(again, first_look=2.0) if calm else first)


def test_what_comes_back_stands_as_it_was_seen_first() -> None:
    first, again = noisy(NORM), noisy(NORM, Verdict.WORSE)
    assert settle([first], [again])[0] == (first,)
    calm = noisy(NORM, Verdict.SAME)
    assert settle([first], [calm])[0] == (calm,)
