"""Sides that stepped in turn: what is safe, what the committed records say, what is reached."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, replace
from typing import Any

import pytest

from harness.judging.report.lane import contest, published, sides, table
from harness.judging.report.lane.safety import (
    AUTOCAST,
    FLOAT32,
    Bands,
    Noise,
    failures,
    largest_gap,
)
from harness.recipe.ways import VARIANTS
from harness.records.steps import Alike, Side, Step
from harness.records.typed import build
from suites.oracles import flops
from suites.oracles import footprint as shapes

EQUAL = Alike(1.0, 1.0, "a", "b", 1.0, 1.0)
RECORDS = [
    pytest.param(raw, id=f"{folder.name}/{name}")
    for folder in sorted(published.FOLDER.iterdir())
    if folder.is_dir()
    for name, raw in published.read(folder).items()
    if raw["case"] == contest.CASE
]


def side(name: str = "published", seconds: float = 1.0, peak: int = 8 * 10**9, **more: Any) -> Side:
    steps = tuple(Step(seconds, seconds, peak, 12.0 - n, 2.0, 100) for n in range(4))
    return replace(Side(name, name, steps, (EQUAL,) * 4, EQUAL, dtypes_seen=9), **more)


def why(changed: Side) -> list[str]:
    return [failure.check for failure in failures(changed, side())]


def stepped(**changes: Any) -> Side:
    """One changed third step."""
    steps = list(side().steps)
    steps[2] = replace(steps[2], **changes)
    return side(steps=tuple(steps))


def seen(**changes: Any) -> Side:
    """One changed third gradient."""
    gradients = [EQUAL] * 4
    gradients[2] = replace(EQUAL, **changes)
    return side(gradients=tuple(gradients))


def scaled(factor: float) -> Side:
    return side(steps=tuple(replace(s, norm=s.norm * factor) for s in side().steps))


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        (scaled(10.0), "norm gap"),
        (scaled(0.5), "norm gap"),
        (scaled(0.99), "norm gap"),
        # Under one percent in every step, but always the same way.
        (scaled(0.996), "median norm gap"),
        (stepped(loss=10.0 * 1.0011), "loss gap"),
        (stepped(loss=math.nan), "loss or norm"),
        (stepped(norm=math.inf), "loss or norm"),
        (stepped(labels=99), "labels"),
        (stepped(labels=None), "labels"),
        (seen(cosine_b=0.89), "gradient's cosine of B"),
        (seen(whole_a=0.99), "gradient's cosine of all A"),
        (seen(untrained=("layers.3.v_proj.lora_B",)), "untrained"),
        (side(moved=replace(EQUAL, whole_b=0.99)), "weights' way's cosine of all B"),
        (side(moved=None), "weights after the last step"),
        (side(other_dtypes={"layers.0.mlp": "bfloat16 for float32"}), "dtype"),
        (side(dtypes_seen=0), "dtypes"),
        (side(dropping=("lora_dropout",)), "dropout"),
        (side(other_batches=True), "batches"),
        (side(gradients=(EQUAL,) * 3), "steps"),
        (side(steps=(), gradients=()), "steps"),
    ],
)
def test_every_planted_difference_is_unsafe(changed: Side, check: str) -> None:
    assert why(changed) == [check] or check in why(changed)


def test_the_largest_gap_is_relative_to_the_truths_losses() -> None:
    """Half of a loss of 2 and a tenth of a loss of 1: the half is the largest."""
    truth = side()
    losses = [replace(step, loss=2.0) for step in truth.steps]
    mine = [
        replace(step, loss=loss) for step, loss in zip(losses, (2.0, 1.0, 2.2, 2.0), strict=True)
    ]
    there, here = replace(truth, steps=tuple(losses)), replace(truth, steps=tuple(mine))
    assert largest_gap(here, there) == pytest.approx(0.5)
    assert largest_gap(there, there) == 0.0


def test_the_truth_and_noise_are_safe() -> None:
    assert why(side()) == []
    # Noise: the norms of two runs of one way, to both sides of one.
    steps = side().steps
    noisy = tuple(
        replace(s, norm=s.norm * (1 + sign * 0.006), loss=s.loss * (1 + sign * 8e-4))
        for s, sign in zip(steps, (1, -1, 1, -1), strict=True)
    )
    assert why(side(steps=noisy)) == []


TENSOR, OTHER = "layers.21.v_proj.lora_B", "layers.3.v_proj.lora_B"


def low(cosine: float, name: str = TENSOR) -> Alike:
    return replace(EQUAL, cosine_b=cosine, worst_b=name, low={name: cosine})


def with_noise(changed: Side, *noisy: Side) -> list[str]:
    return [f.check for f in failures(changed, side(), noise=Noise.of(noisy))]


def test_a_tensor_may_go_twice_as_far_as_noise_takes_the_same_tensor() -> None:
    # Noise takes it to 0.96 in the second step and stays: 0.92 from then on, 0.98 before.
    noisy = side(gradients=(EQUAL, low(0.96), EQUAL, EQUAL))

    def at(step: int, gradient: Alike) -> Side:
        gradients = [EQUAL] * 4
        gradients[step] = gradient
        return side(gradients=tuple(gradients))

    assert with_noise(at(1, low(0.921)), noisy) == []
    assert with_noise(at(3, low(0.921)), noisy) == []
    assert with_noise(at(1, low(0.919)), noisy) == ["gradient's cosine of B"]
    assert with_noise(at(0, low(0.97)), noisy) == ["gradient's cosine of B"]
    assert with_noise(at(1, low(0.97, OTHER)), noisy) == ["gradient's cosine of B"]
    assert with_noise(at(1, low(0.921))) == ["gradient's cosine of B"]
    # Noise under the band narrows nothing.
    assert with_noise(at(1, low(0.981)), side(gradients=(EQUAL, low(0.989), EQUAL, EQUAL))) == []
    # The larger of two noisy sides counts.
    assert with_noise(at(1, low(0.921)), side(gradients=(EQUAL, low(0.98))), noisy) == []


def test_what_noise_did_to_a_tensor_once_it_may_have_done_for_good() -> None:
    """The weights carry it on: a later step allows what an earlier one showed, never less."""
    shaken = side(gradients=(low(0.9), *(EQUAL,) * 3))
    noise = Noise.of([shaken, side()])
    assert [noise.at(step).get(TENSOR) for step in range(5)] == [0.9] * 5
    later = Noise.of([side(gradients=(EQUAL, low(0.9), EQUAL, EQUAL))])
    assert [later.at(step).get(TENSOR) for step in range(3)] == [None, 0.9, 0.9]


def test_of_the_weights_way_only_noise_of_the_same_is_allowed() -> None:
    changed = side(moved=low(0.95))
    assert with_noise(changed, side(moved=low(0.974))) == []
    assert with_noise(changed, side(moved=low(0.976))) == ["weights' way's cosine of B"]
    assert with_noise(changed, side(gradients=(low(0.9),) * 4)) == ["weights' way's cosine of B"]


def test_a_record_that_names_no_tensors_has_no_allowance() -> None:
    old = replace(low(0.95), low={})
    noisy = side(gradients=(low(0.96),) * 4)
    assert with_noise(side(gradients=(old,) * 4), noisy)[:1] == ["gradient's cosine of B"]


def test_noise_of_another_length_or_number_of_samples_is_no_noise() -> None:
    raw_record = record(
        published=side(), published_again=side("published_again", gradients=(low(0.96),) * 4)
    )
    assert contest.noise_for(raw_record, {"a": raw_record}).at(0) == {TENSOR: 0.96}
    assert contest.noise_for(raw_record, {"a": {**raw_record, "tokens": 500}}).at(0) == {}
    fewer = {**raw_record, "batch": {"samples": 4, "tokens_per_sample": 824.0}}
    assert contest.noise_for(raw_record, {"a": fewer}).at(0) == {}
    again = next(e for e in contest.entries(raw_record) if e.name == "published_again")
    assert not again.counts


def record(**sides: Side) -> dict[str, Any]:
    versions = dict.fromkeys(("torch", "transformers", "trl", "peft", "bitsandbytes"), "1")
    return {
        "case": "contest",
        "tokens": 800,
        "truth": "published",
        "warm_up": 2,
        "batch": {"samples": 32, "tokens_per_sample": 824.0},
        "matmul_rate": 1e15,
        "work": {name: {"useful": 5e14} for name in sides},
        "created": "2026-11-29",
        "commit": "x",
        "versions": versions,
        "sides": {name: asdict(one) for name, one in sides.items()},
    }


def test_a_side_is_as_fast_as_its_timed_steps_and_held_against_each_denominator() -> None:
    raw_record = record(
        published=side(seconds=4.0),
        packed_kept=side("packed_kept", 2.0, 12 * 10**9),
        unsloth=side("unsloth", 3.0, 9 * 10**9, dtypes_seen=0),
    )
    fast, peer, truth = contest.entries(raw_record)
    assert (fast.name, peer.name, truth.name) == ("packed_kept", "unsloth", "published")
    assert fast.speed == 16.0
    assert fast.mfu == 0.25
    assert fast.against["published"].median == pytest.approx(2.0)
    assert fast.against["unsloth"].median == pytest.approx(1.5)
    assert not peer.counts
    assert contest.frontier([fast, peer, truth], cached=False) == {
        8: truth,
        10: truth,
        **dict.fromkeys((16, 24, 32, 48, 80), fast),
    }
    assert contest.frontier([fast, peer, truth], cached=True) == {}


def test_what_is_superseded_is_no_denominator_and_no_recommendation() -> None:
    raw_record = record(published=side(seconds=4.0), packed_kept=side("packed_kept", 2.0))
    raw_record["superseded"] = {"published": "it did more"}
    fast, truth = contest.entries(raw_record)
    assert "published" not in fast.against
    assert truth.superseded == "it did more"
    assert not truth.counts
    assert "- `published`: it did more." in sides.superseded(raw_record)
    assert "(superseded)" in contest.table([truth], [])


def test_a_goal_names_the_best_way_within_its_memory() -> None:
    raw_record = record(
        published=side(seconds=4.0),
        packed_kept=side("packed_kept", 1.0, 12 * 10**9),
        packed_checkpointed=side("packed_checkpointed", 2.5, 8 * 10**9),
        unsloth=side("unsloth", 3.0),
    )
    text = contest.goals(contest.entries(raw_record))
    assert "At most 8.9 GB, wanted 1.2× Unsloth as it comes: `packed_checkpointed`" in text
    assert "8.0 GB, 1.20× (1.20–1.20)" in text
    assert "MFU 0.500 (wanted 0.6: **not reached**)" in text
    assert "without checkpointing" not in text


@pytest.mark.parametrize("raw", RECORDS)
def test_a_contest_follows_from_its_raw_steps(raw: dict[str, Any]) -> None:
    sides = {n: build(Side, s) for n, s in raw["sides"].items()}
    shown = contest.entries(raw)
    assert {e.name for e in shown} == set(sides)
    samples, cut = raw["batch"]["samples"], raw["warm_up"]
    useful = flops.useful(
        shapes.SEVEN_B,
        round(samples * raw["batch"]["tokens_per_sample"]),
        round(samples * raw["batch"]["supervised_per_sample"]),
        [round(raw["batch"]["patches_per_sample"])] * samples,
    )
    for entry in shown:
        seconds = [step.seconds for step in entry.side.steps[cut:]]
        assert len(seconds) >= 8 or entry.superseded
        assert entry.speed == pytest.approx(samples / statistics.median(seconds))
        if not entry.is_cached:
            assert raw["work"][entry.name]["useful"] == pytest.approx(useful, rel=2e-3)
        for other, times in entry.against.items():
            theirs = [step.seconds for step in sides[other].steps[cut:]]
            # A slow side may have fewer steps: pairs are of the steps that both made.
            each = sorted(math.log(b / a) for a, b in zip(seconds, theirs, strict=False))
            assert times.median == pytest.approx(math.exp(statistics.median(each)))
            assert math.exp(each[0]) <= times.low <= times.median
            assert times.median <= times.high <= math.exp(each[-1])


@pytest.mark.parametrize("raw", RECORDS)
def test_a_committed_way_that_counts_is_one_that_a_user_can_name(raw: dict[str, Any]) -> None:
    counted = [entry for entry in contest.entries(raw) if entry.counts]
    assert counted or set(raw["superseded"]) == set(raw["sides"])
    assert all(entry.name in VARIANTS for entry in counted)
    page = table.page()
    assert all(f"| `{entry.name}`: {entry.side.what}" in page for entry in contest.entries(raw))


def test_a_side_survives_its_file() -> None:
    changed = side(other_dtypes={"a": "b"}, facts={"x": "y"}, dropping=("d",))
    assert build(Side, json.loads(json.dumps(asdict(changed)))) == changed


def test_a_loss_that_is_no_number_is_named_by_its_step_counted_from_one() -> None:
    (failure,) = failures(stepped(loss=math.nan), side())
    assert (failure.check, failure.where) == ("loss or norm", "step 3")


def test_a_norm_a_whole_band_away_is_too_far() -> None:
    """Binary fractions: 2.0 and 1.5 are a quarter apart, exactly."""
    bands = replace(AUTOCAST, norm=0.25, norm_middle=1.0)
    quarter = failures(stepped(norm=1.5), side(), bands)
    assert [failure.check for failure in quarter] == ["norm gap"]
    assert failures(stepped(norm=1.5), side(), replace(bands, norm=0.26)) == ()


def test_every_part_of_a_band_is_a_distance_or_a_likeness() -> None:
    for bands in (AUTOCAST, FLOAT32):
        assert all(0 < far < 0.02 for far in (bands.loss, bands.norm, bands.norm_middle))
        alike = (bands.cosine, bands.whole, bands.moved, bands.moved_whole)
        assert all(0.95 < near < 1 for near in alike)


def test_a_side_of_more_steps_than_the_truth_has_nothing_to_be_held_against() -> None:
    longer = side(steps=side().steps * 2, gradients=(EQUAL,) * 8)
    (failure,) = failures(longer, side())
    assert (failure.check, failure.value, failure.wanted) == ("steps", "8", "at most the truth's 4")
    # Fewer are held against those that there are.
    assert failures(side(steps=side().steps[:2], gradients=(EQUAL,) * 2), side()) == ()


def test_a_noisy_side_whose_weights_were_not_seen_says_nothing_of_them() -> None:
    noise = Noise.of([side(moved=None), side(moved=low(0.95))])
    assert noise.moved == {TENSOR: 0.95}
    assert Noise.of([side(moved=None)]).moved == {}


def test_float32_leaves_room_for_the_order_of_sums_alone() -> None:
    """A loss of 12 is summed to about 1e-6 of itself; whoever trains in another dtype moves it by
    bfloat16's 4e-3, and turns a gradient by more than 1e-4 of a cosine."""
    summed = stepped(loss=10.0 * (1 + 5e-6), norm=2.0 * (1 + 5e-5))
    assert failures(summed, side(), FLOAT32) == ()
    turned = side(moved=replace(EQUAL, whole_a=0.9998, whole_b=0.9998))
    for changed in (
        stepped(loss=10.0 * (1 + 2e-5)),
        stepped(norm=2.0 * (1 + 2e-4)),
        scaled(1 + 2e-4),
        seen(cosine_a=0.9998),
        seen(cosine_b=0.9998),
        seen(whole_a=0.99998),
        seen(whole_b=0.99998),
        side(moved=replace(EQUAL, cosine_a=0.998)),
        turned,
    ):
        assert failures(changed, side(), FLOAT32), changed


# Numbers that float64 holds exactly.
WIDE = Bands(
    loss=0.5, norm=0.25, norm_middle=0.125, cosine=0.5, whole=0.75, moved=0.5, moved_whole=0.75
)


@pytest.mark.parametrize(
    ("changed", "checks"),
    [
        (stepped(loss=15.0), []),
        (stepped(loss=5.0), []),
        (stepped(loss=math.nextafter(15.0, 16)), ["loss gap"]),
        (stepped(loss=math.nextafter(5.0, 4)), ["loss gap"]),
        (stepped(norm=math.nextafter(2.5, 2)), []),
        (stepped(norm=2.5), ["norm gap"]),
        (stepped(norm=1.5), ["norm gap"]),
        (scaled(1.125), []),
        (scaled(0.875), []),
        (scaled(math.nextafter(1.125, 2)), ["median norm gap"]),
        (scaled(0.8749), ["median norm gap"]),
        (seen(cosine_a=0.5, cosine_b=0.5, whole_a=0.75, whole_b=0.75), []),
        (seen(cosine_a=0.4999), ["gradient's cosine of A"]),
        (seen(cosine_b=0.4999), ["gradient's cosine of B"]),
        (seen(whole_a=0.7499), ["gradient's cosine of all A"]),
        (seen(whole_b=0.7499), ["gradient's cosine of all B"]),
        (side(moved=replace(EQUAL, cosine_a=0.4999)), ["weights' way's cosine of A"]),
        (side(moved=replace(EQUAL, whole_a=0.7499)), ["weights' way's cosine of all A"]),
        # What is no number is like nothing.
        (seen(cosine_a=math.nan), ["gradient's cosine of A"]),
        (seen(whole_b=math.nan), ["gradient's cosine of all B"]),
    ],
)
def test_a_band_holds_up_to_its_edge(changed: Side, checks: list[str]) -> None:
    assert [failure.check for failure in failures(changed, side(), WIDE)] == checks


def test_a_failure_says_where_how_much_and_what_was_wanted() -> None:
    told = [
        str(failure)
        for changed in (
            stepped(labels=None),
            stepped(loss=20.0),
            stepped(norm=1.0),
            side(dropping=("a.lora_dropout", "b.lora_dropout")),
            side(other_dtypes={"a": "bfloat16 for float32", "b": "float16 for float32"}),
            seen(untrained=("x.lora_A", "y.lora_A")),
            stepped(norm=math.inf),
            side(gradients=(EQUAL,) * 3),
        )
        for failure in failures(changed, side())
    ]
    assert told == [
        "labels not seen, wanted 100 (step 3)",
        "loss gap 1.0e+00, wanted 1e-03 (step 3)",
        "norm gap -5.0e-01, wanted under 1e-02 (step 3)",
        "dropout on in 2, wanted in 0",
        "dtype bfloat16 for float32, wanted the truth's (a, 2 in all)",
        "untrained 2 tensors, wanted none (x.lora_A, step 3)",
        "loss or norm no number, wanted finite (step 3)",
        "steps 3 of 4 seen, wanted all",
    ]


def test_of_several_tensors_the_worst_is_named() -> None:
    """Not the first by name."""
    names = ["layers.9.q_proj.lora_B", "layers.1.q_proj.lora_B", "layers.5.q_proj.lora_B"]
    cosines = dict(zip(names, (0.5, 0.9, 0.7), strict=True))
    alike = replace(EQUAL, cosine_b=0.5, worst_b=names[0], low=cosines)
    failed = failures(side(moved=alike), side())
    assert [str(f) for f in failed] == [
        "weights' way's cosine of B 0.50000, wanted 0.98000 (layers.9.q_proj.lora_B, at the end)"
    ]


def test_noise_is_of_the_longest_side_and_never_grows_smaller() -> None:
    short = side(gradients=(low(0.97), low(0.95)))
    long = side(gradients=(EQUAL, low(0.96), low(0.99), low(0.9)))
    noise = Noise.of([short, long])
    assert [table.get(TENSOR) for table in noise.gradients] == [0.97, 0.95, 0.95, 0.9]
    assert [noise.at(step).get(TENSOR) for step in (0, 3, 9)] == [0.97, 0.9, 0.9]
    assert Noise.of([]).gradients == ()
    assert Noise.of([]).at(0) == {}
    assert Noise.of([side(gradients=(), steps=())]).gradients == ()


def test_labels_that_nobody_saw_are_no_labels_that_agree() -> None:
    unseen = side(steps=tuple(replace(step, labels=None) for step in side().steps))
    failed = failures(unseen, unseen)
    assert [f.check for f in failed] == ["labels"] * 4
    assert (failed[0].value, failed[0].wanted) == ("not seen", "None")
