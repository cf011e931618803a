"""Truths of rung 10 about learning rates: the recipe's own, and other schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.measuring.probes._schedules import METRIC, NAMES, STEPS, WARMUP
from harness.recipe.published import Recipe
from suites.oracles.schedules import shares


def schedule_truths(truth: Callable[..., Golden], recipe: Recipe) -> Iterator[Golden]:
    """The rate of each of rung 10's four steps."""
    # Contradiction 2: the scheduler `constant` ignores warmup_ratio.
    rates = [2e-4] * 4
    why = "the scheduler `constant` gives the learning rate from the first step on"
    if recipe.repairs.warmup:
        # 3 % of four steps, rounded up, is one step, which begins the rise at nothing.
        rates, why = [0.0, *[2e-4] * 3], "the rate rises over the first 3 % of the steps"
    yield truth("update", "learning_rate", {"": rates}, "the recipe", why)


def other_schedule_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Of twelve steps with a warm-up of a fifth of them, as shares of the whole rate."""
    rates = {name: shares(name, STEPS, WARMUP) for name in NAMES}
    band = Band(BandKind.ABSOLUTE, 1e-9, "float64 of a cosine or a root", "a step more or less")
    why = "a schedule is its formula, step by step"
    yield truth("update", METRIC, rates, "suites/oracles/schedules.py", why, band)
