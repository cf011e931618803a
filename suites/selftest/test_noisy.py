"""Noisy metrics: what is decided is right, what is close is left undecided."""

from __future__ import annotations

import random

import pytest

from harness.bisect import Answer
from harness.noisy import decide, order


def samples(seed: int, ratio: float, noise: float) -> tuple[list[float], list[float]]:
    """Twelve pairs that share the machine's slow drift; each side has its own noise."""
    draw = random.Random(seed)
    drift = [1 + 0.2 * i / 12 for i in range(12)]
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
    assert "95%" in outcome.reason
    assert "12 pairs" in outcome.reason


def test_runs_are_interleaved() -> None:
    assert order(4) == "ABBAABBA"


@pytest.mark.parametrize(("good", "here"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_samples_that_make_no_ratio(good: list[float], here: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive"):
        decide(good, here)
