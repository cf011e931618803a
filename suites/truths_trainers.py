"""Truths of what the trainer makes of one batch, and of drawn weights in four bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness.judging.goldens.golden import Band, Golden
from suites.truths_four_bit import below


def trainer_truths(truth: Callable[..., Golden], loss: Band) -> Iterator[Golden]:
    """Rungs 5, 6, 8, 9 and 10. loss: how far two sums of one loss may lie apart."""
    sides = ("left", "right")
    why = "a trainer learns what the recipe's collator says"
    yield truth("labels", "trainer_labels_off", {"": 0}, "the recipe", why)
    why = "weights are quantised as they are given"
    band = below(2e-3, "two scales of 8 bits beside each other", "weights rounded to 16 bits")
    yield truth("model", "drawn_nf4_gap", {"": 0.0}, "arXiv 2305.14314", why, band)
    none = dict.fromkeys(sides, 0.0)
    why = "a trainer's loss is its model's"
    yield truth("forward", "trainer_loss_gap", none, "arithmetic", why, loss)
    why = "a trainer's loss has the gradients of its model's"
    wide = "float32 sums over a vocabulary in another order, through a few layers and back"
    band = below(5e-5, wide, "any product rounded to 16 bits")
    yield truth("backward", "trainer_gap", none, "arithmetic", why, band)
    why = "a processor that pads on the left does so for its trainer too"
    yield truth("update", "padded_right", {"": 0}, "the recipe", why)
