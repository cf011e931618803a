"""The CUDA lane on a CPU: its arithmetic, its variants' losses and gradients, its files."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version

from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.instruments import footprint
from harness.measuring.lane import cases, joining
from harness.measuring.lane import step as steps
from harness.measuring.lane.bench import Lane, describe
from harness.measuring.lane.loading import LOADINGS, loading
from harness.measuring.lane.meters import Timed
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.workload import batches
from harness.measuring.models import parts, qwen2_vl
from harness.measuring.snapshots.loading import (
    meta_model,
    quantisation_mode,
)
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.adapter import randomise_lora_b
from harness.measuring.ways.applied import Ledger
from harness.measuring.ways.weights import unpack
from harness.recipe import published
from harness.recipe.ways import RECIPE, VARIANTS, Variant, variant
from harness.records.seals import write_sealed
from suites.lane import TOKENS, run_command

TRANSFORMERS = Version(version("transformers"))


# Compiling takes a C++ compiler and a minute; CUDA is where it could pay.
ON_A_CPU = [name for name, kind in VARIANTS.items() if not kind.compiled]


# Both sides are float32 and differ in the order of sums and in positions left out.
LOSS_BAND, GRADIENT_BAND = 1e-6, 1e-4


def absent(kind: Variant) -> str:
    """What this stack lacks for a variant, as its refusal says; '' where it can run."""
    if kind.liger:
        return "liger-kernel"
    if kind.checkpointing == 0.5 and Version("4.52") > TRANSFORMERS:
        return "per-layer switches"
    return "liger-kernel" if kind.head == "liger" else ""


@pytest.fixture(scope="module")
def lane() -> Lane:
    """The stand-in, held as this stack holds 4-bit weights on a CPU."""
    return Lane(Shelf(STAND_IN, "cpu", quantisation_mode("cpu")), pairs=2, micro=1, size=2)


def test_the_lane_measures_the_recipe_that_was_named(lane: Lane) -> None:
    """Its batches and its step are the variant's: a masked prompt is no target."""
    masked = replace(lane, recipe=published.variant("mask-prompt"))
    (plain,), (mine,) = lane.data(TOKENS)[:1], masked.data(TOKENS)[:1]
    assert torch.equal(plain["input_ids"], mine["input_ids"])
    dropped = (plain["labels"] != mine["labels"]).nonzero()
    assert len(dropped)
    assert set(mine["labels"][plain["labels"] != mine["labels"]].tolist()) == {-100}
    assert masked.prepared(RECIPE).recipe.name == "mask-prompt"


def test_a_file_of_another_recipe_is_not_taken_for_this_one(tmp_path: Path) -> None:
    write_sealed(tmp_path / f"footprint-{TOKENS}.json", {"schema": 1, "case": "footprint"})
    words = ["--model", "stand-in", "--device", "cpu", "--recipe", "warmup"]
    with pytest.raises(BadInput, match="measured with the recipe reference, not warmup; give ano"):
        run_command(tmp_path, f"footprint@{TOKENS}", *words)


@pytest.fixture(scope="module")
def batch(lane: Lane) -> dict[str, Any]:
    return lane.data(TOKENS)[0]


def gradients(lane: Lane, kind: Variant, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Loss and LoRA gradients of one micro-batch; B is random, so that A has gradients too."""
    prepared = steps.prepare(kind, lane.shelf.copy(), "cpu")
    randomise_lora_b(prepared.model, seed=3)
    total = 0.0
    for part, share in steps.parts_of(batch, kind.rows, qwen2_vl):
        loss = steps.loss_of(prepared, part) * share
        loss.backward()
        total += float(loss.detach())
    named = prepared.model.named_parameters()
    return total, {n: p.grad.clone() for n, p in named if p.requires_grad}


@pytest.fixture(scope="module")
def plain(lane: Lane, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    return gradients(lane, RECIPE, batch)


@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_variant_keeps_loss_and_gradients(
    name: str, lane: Lane, batch: dict[str, Any], plain: tuple[float, dict[str, Any]]
) -> None:
    kind = VARIANTS[name]
    if absent(kind):
        with pytest.raises(NotRunnable, match=absent(kind)):
            gradients(lane, kind, batch)
        return
    loss, tensors = gradients(lane, kind, batch)
    assert loss == pytest.approx(plain[0], rel=LOSS_BAND)
    assert tensors.keys() == plain[1].keys()
    for key, gradient in tensors.items():
        wanted = plain[1][key]
        assert wanted.abs().max() > 0, key
        assert (gradient - wanted).abs().max() <= GRADIENT_BAND * wanted.abs().max(), key


def test_unpacked_weights_are_really_unpacked(lane: Lane) -> None:
    model = lane.shelf.copy()
    packed = sum(getattr(p, "quant_state", None) is not None for p in model.parameters())
    assert packed == (
        len(footprint.linears(meta_model(STAND_IN))) - 1
        if lane.quantisation == "bitsandbytes"
        else 0
    )
    assert unpack(model, Ledger(), keep_dtype=True) == packed
    assert not any(getattr(p, "quant_state", None) is not None for p in model.parameters())


def test_a_cached_tower_runs_once_per_picture(lane: Lane) -> None:
    prepared = steps.prepare(variant("cached_vision"), lane.shelf.copy(), "cpu")
    calls: list[int] = []
    tower = parts(prepared.model).tower
    tower.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    data = lane.data(TOKENS)
    for number in (0, 1, 0, 1, 2):
        steps.step(prepared, lane.take(data, number))
    assert len(calls) == len(data) == 2


def test_by_picture_each_picture_goes_through_alone(lane: Lane, batch: dict[str, Any]) -> None:
    prepared = steps.prepare(variant("per_image_attention"), lane.shelf.copy(), "cpu")
    seen: list[int] = []
    tower = parts(prepared.model).tower
    tower.patch_embed.register_forward_hook(lambda *hooked: seen.append(len(hooked[1][0])))
    steps.loss_of(prepared, batch)
    assert seen == batch["image_grid_thw"].prod(-1).tolist()
    assert len(seen) == 2


def rows_of(batches_made: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    """Every sample's ids without padding, in order."""
    return [
        tuple(ids[mask.bool()].tolist())
        for one in batches_made
        for ids, mask in zip(one["input_ids"], one["attention_mask"], strict=True)
    ]


def test_grouping_sorts_a_steps_samples_and_nothing_else() -> None:
    plain, grouped = (
        batches(STAND_IN, 400, count=4, size=4, mixed=True, group=group) for group in (0, 2)
    )
    for first in (0, 2):
        mine, theirs = (rows_of(step[first : first + 2]) for step in (plain, grouped))
        assert sorted(mine) == sorted(theirs)
        assert [len(ids) for ids in theirs] == sorted(len(ids) for ids in mine)
        assert mine != theirs
    row_lengths = [len(ids) for ids in rows_of(plain)]
    assert sum(row_lengths) / len(row_lengths) == pytest.approx(400, rel=0.1)
    assert max(row_lengths) > 2 * min(row_lengths)
    padded = [sum(one["input_ids"].numel() for one in step) for step in (plain, grouped)]
    assert padded[1] < padded[0]


def test_length_grouping_pads_less_and_is_never_called_safe(lane: Lane) -> None:
    wide = replace(lane, micro=2)
    plain, grouped = (
        describe(wide.data(400, mixed=True, grouped=grouped), wide) for grouped in (False, True)
    )
    assert grouped.pop("padded_per_sample") < plain.pop("padded_per_sample")
    assert grouped == plain
    assert cases.is_safe(RECIPE, LOSS_BAND, 1.0)
    assert not cases.is_safe(VARIANTS["length_grouping"], 0.0, 1.0)


def test_a_loss_that_is_no_number_is_named_with_its_step() -> None:
    good = Timed(seconds=1.0, wall=1.0, peak=0, loss=2.0, norm=1.0)
    cases.refuse_broken_arithmetic("compiled", [good, good])
    with pytest.raises(ArithmeticError, match="compiled: in step 2 the loss is nan"):
        cases.refuse_broken_arithmetic("compiled", [good, replace(good, loss=math.nan)])
    with pytest.raises(ArithmeticError, match=r"step 1 the loss is 2\.0, the gradient's norm inf"):
        cases.refuse_broken_arithmetic("compiled", [replace(good, norm=math.inf)])


def test_both_image_processors_are_found_where_the_release_has_them() -> None:
    slow = _compat.image_processor_class(qwen2_vl.IMAGE_PROCESSOR, fast=False)
    if Version("4.49") > TRANSFORMERS:
        with pytest.raises(NotRunnable, match="no fast image processor"):
            _compat.image_processor_class(qwen2_vl.IMAGE_PROCESSOR, fast=True)
        return
    picture = torch.arange(56 * 90 * 3, dtype=torch.uint8).reshape(56, 90, 3).numpy()
    pixels = [
        kind.from_pretrained(str(STAND_IN))(images=[picture], return_tensors="pt")["pixel_values"]
        for kind in (slow, _compat.image_processor_class(qwen2_vl.IMAGE_PROCESSOR, fast=True))
    ]
    assert pixels[0].shape == pixels[1].shape
    # Pillow's bicubic and torchvision's differ: two processors, not one under two names.
    assert not torch.equal(*pixels)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADINGS)
def test_a_way_of_loading_is_held_against_the_published_one(name: str, lane: Lane) -> None:
    if LOADINGS[name].fast and Version("4.49") > TRANSFORMERS:
        with pytest.raises(NotRunnable, match="no fast image processor"):
            loading(name)(replace(lane, size=1), TOKENS)
        return
    case = loading(name)(replace(lane, size=1), TOKENS)
    assert case["speed_up"]["pairs"] == 4
    assert case["steps_compared"] == 2 + cases.WARM_UP
    # A block is a training from the same start: both of a side are one and the same.
    assert case["runs"]["A"][0]["losses"] == case["runs"]["A"][1]["losses"]
    if name == "data_workers":
        assert case["loss_gap"] == 0
        assert case["cosine"] == pytest.approx(1.0)
        assert case["safe"] is True
    else:
        # Other pixels, another loss.
        assert case["loss_gap"] > 0


@pytest.mark.slow
def test_a_pair_is_measured_and_judged(lane: Lane) -> None:
    case = cases.pair("no_checkpointing")(lane, TOKENS)
    assert case["safe"] is True
    assert case["loss_gap"] <= LOSS_BAND
    assert case["cosine_b"] == pytest.approx(1.0)
    assert case["speed_up"]["pairs"] == 2
    assert case["steps_compared"] == 2 + cases.WARM_UP
    assert case["peak"] is None
    assert case["changed"]["mfu"] > 0


@pytest.mark.slow
def test_the_trainer_is_held_against_the_bare_step(lane: Lane) -> None:
    case = cases.through_trainer(lane, TOKENS)
    # Two blocks of each kind, the warm-up cut from every block; then collation in the loop.
    assert {kind: len(runs) for kind, runs in case["runs"].items()} == {"bare": 8, "trainer": 8}
    assert len(case["end_to_end_runs"]) == 3
    middle = {kind: statistics.median(runs) for kind, runs in case["runs"].items()}
    assert case["trainer_speed_over_bare"] == pytest.approx(middle["bare"] / middle["trainer"])
    assert 0 <= case["data_loading_share"] < 1


@pytest.mark.slow
def test_a_variant_that_moves_the_loss_is_not_safe(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "by_row", replace(RECIPE, name="by_row", rows=1))
    assert cases.pair("by_row")(lane, TOKENS)["safe"] is True
    right = steps.parts_of

    def heavier(batch: dict[str, Any], rows: int, loader: Any) -> list[tuple[dict[str, Any], Any]]:
        # One of two samples counts half a percent too much: a quarter percent of the loss.
        (first, share), *others = right(batch, rows, loader)
        return [(first, share * 1.005 if others else share), *others]

    monkeypatch.setattr(steps, "parts_of", heavier)
    case = cases.pair("by_row")(lane, TOKENS)
    assert case["loss_gap"] > cases.LOSS_BAND
    assert case["safe"] is False


@pytest.mark.parametrize("tower", ["recipe", "cached"])
def test_micro_batches_joined_are_the_same_step(lane: Lane, tower: Any) -> None:
    """Of unequal lengths and numbers of labels: every label weighs what it did alone."""
    whole = lane.data(TOKENS, padding="right")
    short = lane.data(TOKENS // 2, padding="right")
    few = short[0]["labels"].clone()
    few[0] = -100
    micro = [whole[0], {**short[0], "labels": few}, whole[1], short[1]]
    alone = replace(RECIPE, head="selected", positions="collator", tower=tower)
    sides = {}
    for rows in (0, 4, 8):
        prepared = steps.prepare(replace(alone, rows=rows), lane.shelf.copy(), "cpu")
        randomise_lora_b(prepared.model, seed=3)
        total = steps.accumulate(prepared, [steps.ahead(prepared, batch) for batch in micro])
        sides[rows] = float(total), {k: p.grad for k, p in enumerate(prepared.parameters)}
    for rows in (4, 8):
        assert sides[rows][0] == pytest.approx(sides[0][0], rel=LOSS_BAND)
        for key, wanted in sides[0][1].items():
            gap = (sides[rows][1][key] - wanted).abs().max()
            assert gap <= GRADIENT_BAND * wanted.abs().max(), key
    other = joining.label_weights(micro)
    assert float(other.sum()) == pytest.approx(len(micro))
    assert len(set(other.tolist())) == 3


def test_rows_that_are_padded_in_front_are_not_joined(lane: Lane) -> None:
    left = lane.data(TOKENS)
    assert not left[0]["attention_mask"][:, 0].all()
    with pytest.raises(NotRunnable, match="padded in front are not joined"):
        joining.joined(left, qwen2_vl)


def test_parts_share_labels_and_pictures(batch: dict[str, Any]) -> None:
    assert steps.parts_of(batch, 0, qwen2_vl) == [(batch, 1.0)]
    parts = steps.parts_of(batch, 1, qwen2_vl)
    assert len(parts) == 2
    assert float(sum(share for _, share in parts)) == pytest.approx(1.0)
    whole = torch.cat([part["pixel_values"] for part, _ in parts])
    assert torch.equal(whole, batch["pixel_values"])
    counted = (batch["labels"][:, 1:] != -100).sum(1)
    shares = [float(share) for _, share in parts]
    assert shares == pytest.approx((counted / counted.sum()).tolist())
    lost = {**batch, "image_grid_thw": batch["image_grid_thw"][:1]}
    with pytest.raises(ValueError, match="1 pictures for 2 samples"):
        steps.parts_of(lost, 1, qwen2_vl)
