"""A release that needs a companion without declaring it: the companion moves, and is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, NotRunnable
from harness.judging.bisect.bench import Bench, Measured, undeclared
from harness.judging.bisect.question import Kind, Question, State
from harness.judging.bisect.range import check_ends
from harness.judging.environments.overlay import Layer
from harness.records.failure import Failure, Mismatch
from harness.records.record import Metric, Provenance, Record, Status

MEET = (
    Mismatch("transformers", "5.14.0", "accelerate", "0.34.2", ">=1.1.0"),
    Mismatch("transformers", "5.14.0", "torch", "2.4.0", ">=2.6"),
    # Nothing that could be asked of it: which release mends that, nobody says.
    Mismatch("transformers", "5.14.0", "peft", "0.9.0", ">=0.10", declared=False),
)
ASKED = ("transformers==5.14.0",)


def measured(*around: Mismatch, breaks: str = "probe") -> Measured:
    failure = Failure("ImportError", "No module named 'x'", "x.py:1", around)
    broken = Metric("inputs", breaks, status=Status.BROKEN, failure=failure)
    here = broken if breaks else Metric("inputs", "positions", "left", 1)
    place = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl")
    return Measured(
        "x", Layer("reference", ASKED, {}, {}, {}), {"inputs": Record("inputs", place, (here,))}
    )


def test_what_is_named_is_asked_for_and_torch_last() -> None:
    assert undeclared(measured(*MEET), ASKED) == ("accelerate>=1.1.0",)
    assert undeclared(measured(*MEET), ASKED, ("accelerate>=1.1.0",)) == ("torch>=2.6",)
    assert undeclared(measured(*MEET), (*ASKED, "accelerate==0.34.2", "torch==2.4.0")) == ()
    assert undeclared(measured(), ASKED) == ()
    # One value's error is the release's own.
    assert undeclared(measured(*MEET, breaks="positions"), ASKED) == ()
    assert undeclared(measured(breaks=""), ASKED) == ()


def bench(monkeypatch: pytest.MonkeyPatch, shows: dict[tuple[str, ...], Measured]) -> Any:
    asked: list[tuple[str, ...]] = []

    def measure(self: Bench, words: Any, again: str, companions: tuple[str, ...]) -> Measured:
        asked.append(companions)
        return shows[companions]

    monkeypatch.setattr(Bench, "_measure", measure)
    trial = Bench("reference", Path("python"), None, Path(), ("inputs",))  # type: ignore[arg-type]
    return trial, asked


def test_the_release_is_measured_again_with_its_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    first, good = ("accelerate>=1.1.0",), measured(breaks="")
    trial, asked = bench(monkeypatch, {(): measured(*MEET), first: good})
    assert trial.measure(ASKED) is good
    assert asked == [(), first]


def test_a_companion_that_does_not_resolve_leaves_the_release_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = measured(*MEET)
    nothing = Measured("x", None, {}, "nothing resolves")
    trial, asked = bench(monkeypatch, {(): alone, ("accelerate>=1.1.0",): nothing})
    assert trial.measure(ASKED) is alone
    assert len(asked) == 2


def test_an_end_that_breaks_is_no_good_end_of_a_finding() -> None:
    """Its error would otherwise be what `good` looks like, and every edge of it the answer."""
    broken = State("error", "ImportError", "ImportError: no accelerate", "no accelerate")
    wrong = State("value", "wrong", "[0, 1]")
    with pytest.raises(NotRunnable, match=r"x 2\.0 cannot be judged .*another --base"):
        check_ends(
            Question("inputs.positions.left", by_verdict=True), broken, wrong, "x 2.0", "x 1.0"
        )
    # Asked by value, the error itself may be the question.
    check_ends(Question("inputs.positions.left"), broken, wrong, "x 2.0", "x 1.0")


def test_ends_of_which_both_or_none_show_the_finding_are_refused() -> None:
    question = Question("inputs.positions.left", by_verdict=True)
    right, wrong = (State(Kind.VALUE, value, value, "") for value in ("right", "wrong"))
    with pytest.raises(BadInput, match=r"^x 2\.0 shows inputs\.positions\.left too"):
        check_ends(question, wrong, wrong, "x 2.0", "x 1.0")
    with pytest.raises(BadInput, match=r"^x 1\.0 does not show inputs\.positions\.left"):
        check_ends(question, right, right, "x 2.0", "x 1.0")
    check_ends(question, right, wrong, "x 2.0", "x 1.0")
