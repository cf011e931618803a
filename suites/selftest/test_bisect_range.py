"""One package's releases on a bench: what is measured, what again, what is kept, what is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect import range as range_
from harness.judging.bisect.answers import FindingAnswer
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.question import Kind, Question, State
from harness.judging.bisect.range import check_measured, search_range
from harness.judging.bisect.search import Answer, Outcome
from harness.judging.bisect.spec import RangeSpec, Search
from harness.judging.environments.overlay import Layer
from harness.judging.environments.releases import Release
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.record import Metric
from suites.selftest.bisections import record

COUNT = 40
SPAN = tuple(Release(Version(f"1.{n}")) for n in range(COUNT))
LOSS, SCALE, SECONDS = (Question(f"forward.{name}") for name in ("loss", "scale", "seconds"))


class Releases:
    """A bench of forty releases: by metric the first of them that shows another value. A time is
    taken by pairs; whatever else is measured twice is asked for as a repetition."""

    def __init__(self, moved: dict[str, int], flaky: int = -1) -> None:
        self.moved, self.flaky = moved, flaky
        self.asked: list[tuple[str, str]] = []
        self.pairs: list[tuple[str, str]] = []
        self.kept: list[set[str]] = []
        self.built = self.extra = 0

    def keep(self, needed: Iterable[Measured]) -> None:
        self.kept.append({measured.label for measured in needed})

    def number(self, asked: Sequence[str]) -> int:
        return int(asked[0].removeprefix("x==1."))

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        self.asked.append((asked[0], again))
        here = self.number(asked)
        metrics = []
        for name, first in self.moved.items():
            odd = here == self.flaky and bool(again)
            value = 2.0 if (here >= first) is not odd else 1.0
            metrics.append(Metric("forward", name, value=value, volatile=name == "seconds"))
        layer = Layer("reference", tuple(asked), {"x": f"1.{here}"}, {}, {})
        return Measured(f"1.{here}", layer, {"forward": record(*metrics)})

    def paired(self, good: Sequence[str], asked: Sequence[str], question: Question) -> Outcome:
        self.pairs.append((good[0], asked[0]))
        bad = self.number(asked) >= self.moved[question.finding.split(".")[1]]
        return Outcome(Answer.BAD if bad else Answer.GOOD, "pairs")


def searched(
    bench: Releases, *questions: Question, lines: list[str] | None = None, **how: Any
) -> dict[str, FindingAnswer]:
    search = Search(Request("reference", "stand-in", "catalogue"), **how)
    say = (lines if lines is not None else []).append
    return search_range("x", questions, SPAN, bench, search, say)  # type: ignore[arg-type]


def edge(answer: FindingAnswer) -> tuple[str, str]:
    (boundary,) = answer.boundaries
    return boundary.before, boundary.after


def test_both_ends_come_first_and_both_sides_of_the_change_are_measured_twice() -> None:
    bench = Releases({"loss": 23})
    answer = searched(bench, LOSS)["forward.loss"]
    assert edge(answer) == ("1.22", "1.23")
    assert answer.repeated
    assert bench.asked[:2] == [("x==1.0", ""), (f"x==1.{COUNT - 1}", "")]
    assert [name for name, again in bench.asked if again] == ["x==1.22", "x==1.23"]
    assert len({name for name, again in bench.asked if not again}) == len(bench.asked) - 2


def test_a_release_that_does_not_answer_the_same_twice_is_no_side_of_a_change() -> None:
    answer = searched(Releases({"loss": 23}, flaky=23), LOSS)["forward.loss"]
    (boundary,) = answer.boundaries
    assert (boundary.before, boundary.after) == ("1.22", "1.24")
    assert list(boundary.skipped) == ["1.23"]
    assert not answer.exact


def test_a_time_is_paired_with_the_good_end_and_not_measured_a_second_time() -> None:
    bench = Releases({"seconds": 11})
    answer = searched(bench, SECONDS, monotonic=True)["forward.seconds"]
    assert edge(answer) == ("1.10", "1.11")
    assert not answer.repeated
    assert {again for _, again in bench.asked} == {""}
    assert {good for good, _ in bench.pairs} == {"x==1.0"}
    # With itself the good end is paired by nobody.
    assert "x==1.0" not in {here for _, here in bench.pairs}


def test_beside_a_time_a_value_is_measured_twice_all_the_same() -> None:
    bench = Releases({"seconds": 11, "loss": 23})
    answers = searched(bench, SECONDS, LOSS, monotonic=True)
    assert edge(answers["forward.seconds"]) == ("1.10", "1.11")
    assert edge(answers["forward.loss"]) == ("1.22", "1.23")
    assert {q: a.repeated for q, a in answers.items()} == {
        "forward.seconds": False,
        "forward.loss": True,
    }
    again = {name for name, times in bench.asked if times}
    assert {"x==1.22", "x==1.23"} <= again


def test_the_good_end_stays_built_while_a_time_is_paired_with_it() -> None:
    timed = Releases({"seconds": 11})
    searched(timed, SECONDS, monotonic=True)
    assert timed.kept
    assert all("1.0" in kept for kept in timed.kept)
    assert {"1.10", "1.11"} <= timed.kept[-1]
    plain = Releases({"loss": 23})
    searched(plain, LOSS, monotonic=True)
    assert plain.kept[-1] == {"1.22", "1.23"}


def test_every_question_is_checked_at_both_ends() -> None:
    """Not the first alone."""
    bench = Releases({"loss": 23, "scale": COUNT})
    with pytest.raises(BadInput, match=r"forward\.scale is the same at both ends, x 1\.0 and x "):
        searched(bench, LOSS, SCALE)
    # A time is never the same twice: it is told by pairs, and an end that shows no more is said so.
    with pytest.raises(NotRunnable, match=r"forward\.seconds: x 1\.39 is not shown to be BAD"):
        searched(Releases({"seconds": COUNT}), SECONDS)


def test_with_monotonic_fewer_releases_are_measured() -> None:
    """Forty take six halvings at most, both ends and two repetitions."""
    trusting, looking = Releases({"loss": 23}), Releases({"loss": 23})
    searched(trusting, LOSS, monotonic=True)
    searched(looking, LOSS)
    assert len(trusting.asked) <= 2 + 6 + 2
    assert len(looking.asked) == len(trusting.asked) + 4
    whole = Releases({"loss": 23})
    searched(whole, LOSS, exhaustive=True)
    assert len(whole.asked) == COUNT + 2


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, "; and 1 more"), (6, "; and 3 more")])
def test_of_many_values_three_are_said_while_it_runs(count: int, more: str) -> None:
    names = [f"m{i}" for i in range(count)]
    lines: list[str] = []
    questions = [Question(f"forward.{name}") for name in names]
    searched(Releases(dict.fromkeys(names, 20)), *questions, lines=lines)
    for line, value in zip(lines[:2], ("1.0", "2.0"), strict=True):
        assert line.endswith(f"forward.m2: {value}{more}")
    assert all("forward.m3" not in line for line in lines)
    assert lines[0].startswith("  x 1.0  0 s  forward.m0: 1.0; forward.m1: ")
    assert any("x 1.20 again 0 s" in line for line in lines)


LOST = State(Kind.LOST, reason="does not resolve.")
GONE = State(Kind.NONE, "absent", "There is no such metric")
VALUE = State(Kind.VALUE, 1.0)
UNRUN = State(Kind.NONE, reason="needs CUDA")


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        (GONE, GONE, r"^There is no such metric\.$"),
        (LOST, VALUE, r"^first, an end of the range: does not resolve\.$"),
        (VALUE, LOST, r"^last, an end of the range: does not resolve\.$"),
        # What one end has, or could not run, is a state like any other.
        (GONE, VALUE, None),
        (VALUE, GONE, None),
        (UNRUN, UNRUN, None),
        (VALUE, VALUE, None),
        # A value that reads like the word for none is a value.
        (replace(VALUE, value="absent"), replace(VALUE, value="absent"), None),
        (GONE, replace(VALUE, value="absent"), None),
    ],
)
def test_an_end_of_which_nothing_is_known_is_refused(
    good: State, bad: State, sentence: str | None
) -> None:
    if sentence is None:
        check_measured(good, bad, "first", "last")
        return
    with pytest.raises((BadInput, NotRunnable), match=sentence):
        check_measured(good, bad, "first", "last")


def test_a_time_at_the_good_end_is_good_without_a_pair() -> None:
    bench = Releases({"seconds": 11})
    answer = searched(bench, SECONDS, monotonic=True)["forward.seconds"]
    assert answer.evaluated["1.0"] == Outcome(
        Answer.GOOD, "the end that the others are paired with"
    )
    assert answer.evaluated["1.11"] == Outcome(Answer.BAD, "pairs")


def test_what_was_kept_is_said_to_be_and_a_long_value_is_cut() -> None:
    class Kept(Releases):
        def measure(self, asked: Sequence[str], again: str = "") -> Measured:
            measured = super().measure(asked, again)
            text = ("b" if self.number(asked) >= 23 else "a") * 200
            told = {"forward": record(Metric("forward", "loss", value=text))}
            return replace(measured, records=told, fresh=self.number(asked) == 0)

    lines: list[str] = []
    searched(Kept({"loss": 23}), LOSS, lines=lines)
    assert lines[0] == "  x 1.0  0 s  forward.loss: " + "a" * 90
    assert lines[1] == "  x 1.39  kept  forward.loss: " + "b" * 90


REQUEST = Request("reference", "stand-in", "catalogue")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench that was opened, nothing built or looked up."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    places: list[Path] = []

    def look_up(request: object, out: Path, python: Path, scale: object, say: object) -> Context:
        assert (request, python) == (REQUEST, tmp_path / "python")
        out.mkdir(parents=True, exist_ok=True)
        places.append(out)
        return Context("reference", "stand-in", "catalogue", tmp_path, True, out)

    monkeypatch.setattr(range_, "environment_for", lambda base: tmp_path / "python")
    monkeypatch.setattr(range_, "new_context", look_up)
    asked = [Question("update.loss"), Question("ids.encoded.a"), Question("ids.encoded.b")]
    wheels = tmp_path / "wheels"
    lines: list[str] = []
    yield range_.open_bench(Search(REQUEST, limit_s=7.0), asked, wheels, lines.append)
    assert lines == ["building or reusing the environment of reference"]
    # Where the model was looked up nothing stays, and no other bisect looks there.
    assert [place.parent.name for place in places] == ["sources"]
    assert not places[0].exists()


def test_a_bench_measures_the_rungs_that_are_asked_for_once_and_in_order(
    built: Bench, tmp_path: Path
) -> None:
    assert built.rungs == ("ids", "update")
    assert (built.base, built.python) == ("reference", tmp_path / "python")
    assert (built.limit_s, built.wheels) == (7.0, tmp_path / "wheels")
    assert built.root == tmp_path / "cache" / "bisect"


@pytest.mark.parametrize("with_wheels", [True, False])
def test_a_bisect_says_what_it_was_asked_and_what_it_took(
    with_wheels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opened(Releases):
        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *error: object) -> None:
            self.built, self.extra = 9, 2

    bench, lines = Opened({"loss": 23}), list[str]()
    asked: list[tuple[object, ...]] = []

    def opened(search: Search, questions: object, wheels: Path | None, say: object) -> Opened:
        asked.append((search, questions, wheels))
        return bench

    def listed(package: str, folder: Path | None = None) -> tuple[Release, ...]:
        assert (package, folder) == ("x", tmp_path if with_wheels else None)
        return (Release(Version("0.9")), *SPAN, Release(Version("2.0")))

    monkeypatch.setattr(range_, "open_bench", opened)
    monkeypatch.setattr(range_.releases, "in_folder" if with_wheels else "published", listed)
    search = Search(Request("reference", "stand-in", "catalogue", device="cpu"))
    wheels = tmp_path if with_wheels else None
    spec = RangeSpec("x", "1.0", "1.39", (LOSS,), search, wheels)
    told = range_.bisect_range(spec, lines.append)
    assert lines[0] == "40 releases of x from 1.0 to 1.39, base reference"
    assert asked == [(search, (LOSS,), wheels)]
    assert (told.package, told.good, told.bad, told.base) == ("x", "1.0", "1.39", "reference")
    assert told.releases == tuple(f"1.{n}" for n in range(COUNT))
    assert told.wheels == (str(tmp_path) if with_wheels else "")
    assert (told.environments, told.for_companions) == (9, 2)
    assert edge(told.findings["forward.loss"]) == ("1.22", "1.23")
    assert "--model" in told.options
    assert 0 <= told.seconds < 60
    assert told.exit_code == 0
