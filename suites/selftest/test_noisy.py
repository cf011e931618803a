"""Noisy metrics: what is decided is right, what is close is left undecided."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.noisy import decide, order
from harness.judging.bisect.question import Question
from harness.judging.bisect.search import Answer, Outcome, search
from harness.records.record import Metric, Provenance, Record


def samples(seed: int, ratio: float, noise: float) -> tuple[list[float], list[float]]:
    """Fourteen pairs that share the machine's slow drift; each side has its own noise."""
    draw = random.Random(seed)
    drift = [1 + 0.2 * i / 14 for i in range(14)]
    good = [d * draw.gauss(1, noise) for d in drift]
    return good, [ratio * d * draw.gauss(1, noise) for d in drift]


@pytest.mark.parametrize(
    ("ratio", "wanted"), [(1.0, Answer.GOOD), (1.2, Answer.BAD), (0.8, Answer.BAD)]
)
def test_clear_cases_are_right_and_hardly_ever_undecided(ratio: float, wanted: Answer) -> None:
    answers = [decide(*samples(seed, ratio, 0.02)).answer for seed in range(100)]
    assert set(answers) <= {wanted, Answer.SKIP}
    assert answers.count(wanted) >= 95


def test_a_change_as_large_as_the_band_is_left_undecided_not_guessed() -> None:
    answers = [decide(*samples(seed, 1.05, 0.03)).answer for seed in range(100)]
    assert answers.count(Answer.SKIP) > 75


def test_noise_alone_is_never_bad() -> None:
    answers = [decide(*samples(seed, 1.0, 0.1)).answer for seed in range(100)]
    assert answers.count(Answer.BAD) == 0


def test_the_confidence_is_stated() -> None:
    outcome = decide(*samples(1, 1.2, 0.01))
    # 1 - 2 (1 + 14 + 91) / 16384: two samples off each end of fourteen.
    assert "at 98.7%, 14 pairs" in outcome.reason


@pytest.mark.parametrize("pairs", [8, 9, 14])
def test_the_confidence_holds_whatever_the_noise_looks_like(pairs: int) -> None:
    """How often the stated interval misses the true ratio, counted: skewed noise, heavy tails."""
    for noise in (
        lambda draw: draw.gauss(0, 0.05),
        lambda draw: draw.expovariate(20) - math.log(2) / 20,
        # Cauchy: now and then a run takes ten times as long.
        lambda draw: max(-3.0, min(3.0, 0.01 * math.tan(math.pi * (draw.random() - 0.5)))),
    ):
        missed, draw = 0, random.Random(pairs)
        median = statistics.median(noise(random.Random(s)) for s in range(4001))
        for _ in range(1000):
            here = [1.1 * math.exp(noise(draw) - median) for _ in range(pairs)]
            reason = decide([1.0] * pairs, here).reason
            low, high = map(float, re.findall(r"\((\S+) to (\S+) at", reason)[0])
            missed += not low - 5e-4 <= 1.1 <= high + 5e-4
        # 2.5 % of a thousand, and three standard deviations.
        assert missed < 40


def test_a_noisy_history_is_bisected_to_its_release_or_a_range_that_holds_it() -> None:
    """30 % slower from one release on, 2 % noise, drift: at most a release beside it undecided."""
    exact = 0
    for seed in range(100):
        draw = random.Random(seed)
        count = draw.randint(3, 80)
        edge = draw.randint(1, count - 1)
        runs: list[int] = []

        def timed(
            position: int, draw: random.Random = draw, edge: int = edge, runs: list[int] = runs
        ) -> float:
            runs.append(position)
            slow = 1.3 if position >= edge else 1.0
            return slow * (1 + 0.002 * len(runs)) * draw.gauss(1, 0.02)

        def evaluate(position: int, timed: Callable[[int], float] = timed) -> dict[str, Outcome]:
            if position == 0:
                return {"x": Outcome(Answer.GOOD)}
            taken = {side: [] for side in "AB"}  # type: dict[str, list[float]]
            for side in order():
                taken[side].append(timed(0 if side == "A" else position))
            return {"x": decide(taken["A"], taken["B"], 0.1)}

        (boundary,) = search(count, ["x"], evaluate, monotonic=True)["x"].boundaries
        assert boundary.before < edge <= boundary.after
        exact += boundary.is_exact
    assert exact >= 90


def test_runs_are_interleaved() -> None:
    assert order(4) == "ABBAABBA"


@pytest.mark.parametrize(("good", "here"), [([], []), ([1.0], [1.0, 2.0]), ([1.0] * 8, [0.0] * 8)])
def test_samples_that_make_no_ratio(good: list[float], here: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive|too few"):
        decide(good, here)


class Timed(Bench):
    """A bench whose releases take what a table says; remembers what was measured, in order."""

    def __init__(self, seconds: dict[str, object]) -> None:
        self.seconds = seconds
        self.asked: list[tuple[str, str]] = []

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        assert (asked[0], again) not in self.asked, "one measurement taken for two"
        self.asked.append((asked[0], again))
        place = Provenance(
            "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
        )
        value: Any = self.seconds[asked[0]]
        metric = Metric("cost", "seconds", value=value, volatile=True)
        return Measured("x", None, {"cost": Record("cost", place, (metric,))})


SECONDS = Question("cost.seconds")


def test_every_release_has_its_own_pairs_with_the_good_end() -> None:
    bench = Timed({"x==1": 1.0, "x==2": 1.01, "x==3": 1.5})
    answers = [bench.paired(["x==1"], [f"x=={n}"], SECONDS) for n in (2, 3)]
    assert [o.answer for o in answers] == [Answer.GOOD, Answer.BAD]
    assert "at 99.2%, 8 pairs" in answers[1].reason
    names = [name for name, _ in bench.asked]
    assert names[:4] == ["x==1", "x==2", "x==2", "x==1"]
    assert [names.count(f"x=={n}") for n in (1, 2, 3)] == [16, 8, 8]


@pytest.mark.parametrize(
    ("slow", "answer", "pairs"),
    [
        # One of the release's runs was held up: six pairs more, and it is one of fourteen.
        ({3}, Answer.BAD, 14),
        # What stays open after those stays open.
        ({1, 3, 6, 9, 11}, Answer.SKIP, 14),
        (set(), Answer.BAD, 8),
    ],
)
def test_a_run_that_was_held_up_leaves_no_release_undecided(
    slow: set[int], answer: Answer, pairs: int
) -> None:
    bench = Timed({"x==1": 1.0, "x==2": 0.5})
    measure = bench.measure

    def held_up(asked: Sequence[str], again: str = "") -> Measured:
        taken = sum(name == "x==2" for name, _ in bench.asked)
        bench.seconds["x==2"] = 100.0 if taken in slow else 0.5
        return measure(asked, again)

    bench.measure = held_up  # type: ignore[method-assign]
    paired = bench.paired(["x==1"], ["x==2"], SECONDS)
    assert paired.answer is answer
    assert f"{pairs} pairs" in paired.reason


def test_what_is_no_time_is_said() -> None:
    with pytest.raises(BadInput, match=r"cost\.seconds is slow: no time to take a ratio of"):
        Timed({"x==1": 1.0, "x==2": "slow"}).paired(["x==1"], ["x==2"], SECONDS)
