"""Trainings that go on from a checkpoint, as they were measured on pairs of transformers and torch:
what moved between any two of them is explained, and nothing of another size."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import pytest

from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.compare.register import at_work, explanation, read_register
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.golden import read_goldens
from harness.records.failure import Failure
from harness.records.record import Metric, Record, Status
from harness.records.typed import Json
from suites.selftest.verdicts import record

UNREAD = Failure(
    "UnpicklingError",
    "Weights only load failed. This file can still be loaded, to do so you have two options ",
    "site-packages/torch/serialization.py:1096",
)
REFUSED = Failure(
    "ValueError",
    "Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we now "
    "require users to upgrade torch to at least v2.6 in order to use the function.",
    "transformers/utils/import_utils.py:1647",
)
# Which sides of a batch have positions with three axes: the cause of what 4.47 and 4.48 do.
NONE, FIRST, BOTH = (False, False), (True, False), (True, True)
Seen = tuple[tuple[bool, bool], tuple[float, float] | Failure]
# Measured on 2026-11-30 with the probe itself: gaps of adapter and loss, or the error.
SEEN: dict[tuple[str, str], Seen] = {
    ("4.45.1", "2.4.0"): (NONE, (0.0, 0.0)),
    ("4.46.3", "2.4.0"): (NONE, (0.0, 0.0)),
    ("4.47.1", "2.4.0"): (FIRST, (0.5219800779247676, 0.05449999999999999)),
    ("4.48.3", "2.4.0"): (FIRST, (0.5219800779247676, 0.05449999999999999)),
    ("4.49.0", "2.4.0"): (BOTH, (0.0, 0.0)),
    ("4.50.3", "2.4.0"): (BOTH, (0.0, 0.0)),
    ("4.51.0", "2.4.0"): (BOTH, UNREAD),
    ("4.51.3", "2.4.0"): (BOTH, UNREAD),
    ("4.51.3", "2.5.1"): (BOTH, UNREAD),
    ("4.57.6", "2.4.0"): (BOTH, REFUSED),
    ("5.24.0", "2.15.0"): (BOTH, (0.0, 0.0)),
}
NAMES = ("resumed_gap", "resumed_loss_gap")
BANDS, REGISTER = read_bands(), read_register()
# The stand-in's truths under the published recipe, as if they held for any.
TRUTHS = [
    replace(golden, recipes={}, data="")
    for golden in read_goldens()
    if golden.kind == "truth"
    and golden.family == "qwen2_vl"
    and golden.model in {"any", "stand-in"}
    and (golden.metric in NAMES or golden.metric == "positions")
    and (not golden.recipes or "reference" in golden.recipes)
]
POSITIONS = next(golden for golden in TRUTHS if golden.metric == "positions")


def measured(stack: tuple[str, str]) -> tuple[Record, Record]:
    sides, seen = SEEN[stack]
    versions = dict(zip(("transformers", "torch"), stack, strict=True))
    counted: Json = ["0 1 2 3 | 0 1 2 3 | 0 1 2 3"]
    places = [
        Metric("inputs", "positions", case, POSITIONS.cases[case] if three else counted)
        for case, three in zip(("left", "right"), sides, strict=True)
    ]
    if isinstance(seen, Failure):
        broken = Metric("trajectory", NAMES[0], status=Status.BROKEN, failure=seen)
        resumed = record("trajectory", broken, versions=versions)
    else:
        gaps = (
            Metric("trajectory", name, None, gap) for name, gap in zip(NAMES, seen, strict=True)
        )
        resumed = record("trajectory", *gaps, versions=versions)
    return record("inputs", *places, versions=versions), resumed


def moved(old: tuple[str, str], new: tuple[str, str]) -> list[Pair]:
    return [
        pair
        for one, other in zip(measured(old), measured(new), strict=True)
        for pair in pair_records(one, other, BANDS, TRUTHS)
        if pair.differs
    ]


def unknown(pairs: list[Pair], old: tuple[str, str], new: tuple[str, str]) -> set[str]:
    sides = (dict(zip(("transformers", "torch"), stack, strict=True)) for stack in (old, new))
    working = at_work(REGISTER, pairs, *sides, "qwen2_vl")
    return {pair.metric for pair in pairs if not explanation(pair, working)}


@pytest.mark.parametrize(("one", "other"), [*combinations(SEEN, 2)])
def test_what_moved_between_two_stacks_is_known(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    for old, new in ((one, other), (other, one)):
        assert not unknown(moved(old, new), old, new) & {*NAMES}, (old, new)


@pytest.mark.parametrize("size", [0.02, 20.0])
def test_a_gap_of_another_size_is_unknown(size: float) -> None:
    """Another mask, or a moment lost, on the way to 4.47."""
    old, new = ("4.46.3", "2.4.0"), ("4.47.1", "2.4.0")
    pairs = [
        replace(pair, gap=size) if pair.metric == NAMES[0] else pair for pair in moved(old, new)
    ]
    assert unknown(pairs, old, new) == {NAMES[0]}


def test_an_error_of_another_kind_is_unknown() -> None:
    for (old, new), side in product([(("4.50.3", "2.4.0"), ("4.51.0", "2.4.0"))], ("old", "new")):
        first, second = (old, new) if side == "new" else (new, old)
        pairs = [p for p in moved(first, second) if p.metric == NAMES[0]]
        (pair,) = pairs
        other = replace(getattr(pair, side), error="KeyError: 'state' (trainer.py:1)")
        assert unknown([replace(pair, **{side: other})], first, second) == {NAMES[0]}  # type: ignore[arg-type]
