"""The command around the search: questions, ends, evidence, companions, the page and the script."""

from __future__ import annotations

import pytest

from harness.cli import main
from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.answers import (
    Cause,
    FindingAnswer,
)
from harness.judging.bisect.question import Kind, Question, State, answer, state_of
from harness.judging.bisect.search import Answer
from harness.judging.bisect.spec import questions, relative_band
from harness.judging.goldens.golden import Band, BandKind
from harness.records.failure import Failure
from harness.records.record import Metric, Status
from suites.selftest.bisections import LOSS, VERSIONS, Bench, ask, metric, record


def edges(answer: FindingAnswer) -> list[tuple[str, str]]:
    return [(edge.before, edge.after) for edge in answer.boundaries]


def test_a_value_that_moves() -> None:
    bench = Bench(dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True)))
    answer = ask(bench, LOSS)
    assert edges(answer) == [("1.2", "1.3")]
    (edge,) = answer.boundaries
    assert [s.value for s in edge.shows] == [1.0, 2.0]
    # The companion moved in the same step; with it alone nothing moves.
    assert edge.companions == {"helper": ("1", "2")}
    assert edge.cause is Cause.PACKAGE
    assert answer.exact


def test_a_companion_that_is_the_cause_is_told_apart() -> None:
    shows = dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True))
    (edge,) = ask(Bench(shows, by_companion=True), LOSS).boundaries
    assert edge.cause is Cause.COMPANIONS


def test_a_band_keeps_rounding_out_and_the_change_in() -> None:
    shows = dict(zip(VERSIONS, [1.0, 1.0001, 0.9999, 1.0001, 1.2, 1.2], strict=True))
    assert edges(ask(Bench(shows), Question("forward.loss", Band(BandKind.RELATIVE, 0.01)))) == [
        ("1.3", "1.4")
    ]
    assert len(edges(ask(Bench(shows), LOSS, exhaustive=True))) == 1


def test_broken_releases_hide_the_boundary_and_are_named() -> None:
    broken = metric(None, status=Status.BROKEN, failure=Failure("OSError", "boom", "f:1"))
    shows: dict[str, object] = dict(
        zip(VERSIONS, [1.0, 1.0, RuntimeError("does not resolve"), broken, 2.0, 2.0], strict=True)
    )
    answer = ask(Bench(shows), LOSS)
    assert edges(answer) == [("1.1", "1.4")]
    assert answer.boundaries[0].skipped == {"1.2": "does not resolve", "1.3": "OSError: boom"}
    assert not answer.exact


def test_an_error_is_bad_where_the_bad_end_has_the_same_one() -> None:
    def gone(kind: str) -> Metric:
        return metric(None, status=Status.BROKEN, failure=Failure(kind, "gone", "f:1"))

    shows = dict(
        zip(
            VERSIONS,
            [1.0, 1.0, 1.0, gone("ImportError"), gone("OSError"), gone("ImportError")],
            strict=True,
        )
    )
    answer = ask(Bench(shows), LOSS, exhaustive=True)
    assert edges(answer) == [("1.2", "1.3")]
    assert answer.evaluated["1.4"].answer is Answer.SKIP


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        (1.0, 1.0, "the same at both ends, x 1.0 and x 1.5"),
        (RuntimeError("does not resolve."), 2.0, "x 1.0, an end of the range: does not resolve"),
    ],
)
def test_ends_that_do_not_show_it(first: object, last: object, sentence: str) -> None:
    shows = dict(zip(VERSIONS, [first, 1.0, 1.0, 1.0, 1.0, last], strict=True))
    with pytest.raises((BadInput, NotRunnable), match=sentence):
        ask(Bench(shows), LOSS)


def test_a_release_that_cannot_be_measured_is_like_no_end() -> None:
    """NOT_RUN at an end is a state; a release in the middle that does not install is not it."""
    needs = metric(None, status=Status.NOT_RUN, reason="needs a GPU")
    lost = RuntimeError("does not resolve")
    for shows in (
        [needs, needs, lost, 2.0, 2.0, 2.0],
        [2.0, 2.0, lost, needs, needs, needs],
    ):
        answer = ask(Bench(dict(zip(VERSIONS, shows, strict=True))), LOSS, exhaustive=True)
        assert answer.evaluated["1.2"].answer is Answer.SKIP
        assert edges(answer) == [("1.1", "1.3")]


def test_a_process_that_died_decides_nothing_and_is_no_end() -> None:
    died = metric(None, status=Status.BROKEN, failure=Failure("ChildDied", "signal 9", "log"))
    shows: dict[str, object] = dict(zip(VERSIONS, [1.0, 1.0, died, 2.0, 2.0, 2.0], strict=True))
    answer = ask(Bench(shows), LOSS, exhaustive=True)
    assert answer.boundaries[0].skipped == {"1.2": "ChildDied: signal 9"}
    with pytest.raises(NotRunnable, match=r"x 1\.5, an end of the range: ChildDied: signal 9\.$"):
        ask(Bench({**shows, "1.5": died}), LOSS)


def test_a_metric_that_no_end_has_is_unknown_and_near_ones_are_named() -> None:
    with pytest.raises(BadInput, match=r"no forward\.los; near it are forward\.loss\.$"):
        ask(Bench(dict.fromkeys(VERSIONS, 1.0)), Question("forward.los"))


def test_a_finding_without_a_golden_is_not_judged_by_something_else() -> None:
    shows: dict[str, object] = dict(zip(VERSIONS, [1.0, 1.0, 1.0, 2.0, 2.0, 2.0], strict=True))
    with pytest.raises(NotRunnable, match=r"no golden judges forward\.loss here; ask .* --metric"):
        ask(Bench(shows), Question("forward.loss", by_verdict=True))


@pytest.mark.parametrize("band", [-0.1, float("nan"), float("inf")])
def test_a_band_that_is_none(band: float) -> None:
    with pytest.raises(BadInput, match="--band is"):
        relative_band(band)


def test_not_run_at_one_end_is_a_state_of_its_own() -> None:
    missing = metric(None, status=Status.NOT_RUN, reason="needs CUDA")
    good, bad = State(Kind.NONE, reason="needs CUDA"), State(Kind.VALUE, 1.0)
    assert state_of(LOSS, {"forward": record(missing)}) == good
    assert answer(LOSS, bad, good, bad).answer is Answer.BAD
    assert answer(LOSS, good, good, bad).answer is Answer.GOOD
    assert answer(LOSS, State(Kind.NONE), bad, State(Kind.VALUE, 2.0)).answer is Answer.SKIP


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--metric", "nonsense.x"], "'nonsense.x' names no metric"),
        (["--metric", "forward"], "'forward' names no metric"),
        ([], "Say what moved"),
    ],
)
def test_questions_that_ask_nothing(words: list[str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        questions((), words[1:], None)


def test_the_command_without_a_range_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect"]) == 2
    assert "Give PACKAGE, --good and --bad, or --from-compare DIR" in capsys.readouterr().err
    assert (
        main(
            [
                "bisect",
                "x",
                "--good",
                "1",
                "--bad",
                "2",
                "--metric",
                "text.rendered",
                "--wheels",
                "/no/such",
            ]
        )
        == 2
    )
    assert "There is no folder /no/such" in capsys.readouterr().err
