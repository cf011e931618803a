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
from harness.judging.bisect.noisy import certainty, decide, order
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


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    # Numbers that float64 holds exactly: the interval is a point, on the band's edge or beside it.
    [
        (1.25, Answer.GOOD),
        (0.75, Answer.GOOD),
        (math.nextafter(1.25, 2), Answer.BAD),
        (math.nextafter(0.75, 0), Answer.BAD),
    ],
)
def test_the_edge_of_the_band_is_inside_it(ratio: float, wanted: Answer) -> None:
    assert decide([1.0] * 8, [ratio] * 8, 0.25).answer is wanted


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        # Eight pairs hold the median between the least and the largest of them.
        (0.5, 1.0, Answer.SKIP),
        (1.0, 1.5, Answer.SKIP),
        (0.5, 1.5, Answer.SKIP),
        (1.3, 1.5, Answer.BAD),
        (0.5, 0.7, Answer.BAD),
        (0.8, 1.2, Answer.GOOD),
    ],
)
def test_where_the_interval_holds_an_edge_nothing_is_decided(
    low: float, high: float, wanted: Answer
) -> None:
    outcome = decide([1.0] * 8, [low, *[(low + high) / 2] * 6, high], 0.25)
    assert outcome.answer is wanted
    assert f"({low:.3f} to {high:.3f} at 99.2%, 8 pairs)" in outcome.reason
    assert outcome.reason.startswith("not decided: ") is (wanted is Answer.SKIP)


def test_six_pairs_are_too_few_and_seven_are_not() -> None:
    """1 - 2/2^6 is 96.9 %, 1 - 2/2^7 is 98.4 %: 97.5 % lies between."""
    with pytest.raises(ValueError, match="6 pairs are too few for 9"):
        decide([1.0] * 6, [2.0] * 6)
    assert "at 98.4%, 7 pairs" in decide([1.0] * 7, [2.0] * 7).reason
    assert certainty(6, 0) == 1 - 2 / 64
    assert certainty(7, 1) == 1 - 2 * (1 + 7) / 128


def test_of_more_pairs_the_outermost_are_left_out() -> None:
    """Of fourteen two at each end: 1 - 2 (1 + 14 + 91) / 2^14 is 98.7 %, with a third 94.3 %."""
    here = [0.1, 0.2, *[1.5] * 10, 8.0, 9.0]
    outcome = decide([1.0] * 14, here, 0.25)
    assert outcome.answer is Answer.BAD
    assert outcome.reason == "ratio 1.500 (1.500 to 1.500 at 98.7%, 14 pairs)"


def test_of_hardly_enough_pairs_the_extremes_are_kept() -> None:
    """With 7 none may be left out: 1 - 2 (1 + 7) / 2^7 is 87.5 %."""
    outcome = decide([1.0] * 7, [0.1, 2.0, 2.0, 2.0, 2.0, 2.0, 9.0], 0.25)
    assert outcome.answer is Answer.SKIP
    assert "(0.100 to 9.000 at 98.4%, 7 pairs)" in outcome.reason


@pytest.mark.parametrize("count", [8, 14, 40, 100, 301])
def test_the_interval_is_the_narrowest_that_is_sure_enough(count: int) -> None:
    """By counting subsets: the number of pairs above the median is binomial with a half."""
    ratios = [1.0 + n / 1000 for n in range(count)]
    below, cut = 0, -1
    while 2 * (below + math.comb(count, cut + 1)) * 1000 <= 25 * 2**count:
        below += math.comb(count, cut + 1)
        cut += 1
    shown = decide([1.0] * count, ratios, 9.0).reason
    assert f"({ratios[cut]:.3f} to {ratios[-1 - cut]:.3f} at " in shown
