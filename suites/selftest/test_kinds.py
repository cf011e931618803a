"""Between kinds of CPU: bands from the lengths of sums, and judged with them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInput
from harness.judging.goldens.elsewhere import across_kinds, never_observed
from harness.judging.goldens.golden import (
    BY_HAND,
    Band,
    BandKind,
    Golden,
    golden_to_json,
    read_golden,
    read_goldens,
)
from harness.judging.goldens.judgement import facts_of
from harness.judging.goldens.kinds import Between, Kinds, Sum, read_kinds, summing_error
from harness.judging.goldens.verdicts import judge
from harness.records.files import read_object
from harness.records.folders import GOLDEN, PROJECT
from harness.records.record import Metric, Provenance, Record, Verdict
from harness.records.seals import write_sealed
from harness.records.typed import Json

KINDS = GOLDEN / "bands" / "kinds.json"
OBSERVED = tuple(g for g in read_goldens() if g.kind == "observed")
# Of the four rows that rungs 8 and 9 look at (their ids and pictures are truths).
TOKENS, ROWS, LARGEST_PICTURE = 169, 4, 80


def records_of(goldens: tuple[Golden, ...], device: str, scale: float) -> dict[str, Record]:
    """Records of another device whose values lie `scale` between-kinds bands from the goldens."""
    records: dict[str, Record] = {}
    for golden in goldens:
        metrics = tuple(
            Metric(
                golden.rung,
                golden.metric,
                case=case or None,
                value=float(str(value)) + scale * golden.between[case].limit,
            )
            for case, value in golden.cases.items()
        )
        seen = golden.provenance
        provenance = Provenance(
            golden.stack,
            golden.model,
            "catalogue",
            device,
            seen["recipe"],
            "one",
            {"torch": "2"},
            model_digest=seen["model_digest"],
            family=golden.family,
        )
        before = records[golden.rung].metrics if golden.rung in records else ()
        records[golden.rung] = Record(golden.rung, provenance, (*before, *metrics))
    return records


def alike(goldens: tuple[Golden, ...]) -> tuple[Golden, ...]:
    """Observed with the samples that `records_of` says."""
    return tuple(replace(g, provenance={**g.provenance, "samples": "one"}) for g in goldens)


@pytest.mark.parametrize("device", ["cpu-x86_64-avx2", "cpu-x86_64-default", "cpu-aarch64-default"])
@pytest.mark.parametrize(("scale", "wanted"), [(0.9, Verdict.SAME), (-3.0, Verdict.CHANGED)])
def test_another_kind_of_cpu_is_judged_by_arithmetic(
    device: str, scale: float, wanted: Verdict
) -> None:
    """All 52 of them, none not run; three times the band is reported, at every value."""
    judgement = judge(records_of(OBSERVED, device, scale), alike(OBSERVED), [])
    assert len(judgement.items) == 52
    assert {item.verdict for item in judgement.items} == {wanted}
    assert judgement.missing == ()
    assert all("observed on cpu-x86_64-avx512" in item.reason for item in judgement.items)


def test_a_gpu_borrows_nothing_from_a_cpu() -> None:
    judgement = judge(records_of(OBSERVED, "cuda-nvidia-h200", 0.0), alike(OBSERVED), [])
    assert {item.verdict for item in judgement.items} == {Verdict.NOT_RUN}


def test_a_number_of_its_own_comes_before_another_kinds() -> None:
    device = "cpu-x86_64-avx2"
    (loss,) = (g for g in alike(OBSERVED) if (g.rung, g.metric) == ("forward", "loss"))
    own = replace(loss, device_key=device, band=Band(BandKind.RELATIVE, 1e-9, "own"))
    records = records_of((loss,), device, 0.5)
    for order in ([loss, own], [own, loss]):
        judgement = judge(records, order, [])
        assert {item.verdict for item in judgement.items} == {Verdict.CHANGED}
        assert {item.band.reason for item in judgement.items} == {"own"}


def test_other_samples_are_not_comparable_between_kinds_either() -> None:
    judgement = judge(records_of(OBSERVED, "cpu-x86_64-avx2", 0.0), OBSERVED, [])
    assert {item.verdict for item in judgement.items} == {Verdict.NOT_COMPARABLE}


def test_no_band_between_kinds_hides_half_a_per_cent_of_what_it_judges() -> None:
    wide = {
        (golden.rung, golden.metric, case): golden.between[case].limit / abs(float(str(value)))
        for golden in OBSERVED
        for case, value in golden.cases.items()
    }
    assert max(wide.values()) < 0.005


def test_the_root_law_holds_for_sums_in_other_orders() -> None:
    """Float32 sums of one length in two orders: their rms distance is below √2 u √(n/6), so that
    five times it is never left, and within a factor of four, so that it is not idle."""
    rng = np.random.default_rng(7)
    length = 512
    terms = rng.standard_normal((4000, length)).astype(np.float32)
    one, other = (np.zeros(4000, np.float32) for _ in range(2))
    for i in range(length):
        one = one + terms[:, i]
        other = other + terms[:, length - 1 - i]
    exact = terms.astype(np.float64).sum(axis=1)
    rms = np.sqrt(np.mean((one.astype(np.float64) - other) ** 2) / np.mean(exact**2))
    law = summing_error((Sum("sum", 1, length),))
    assert law == pytest.approx(5 * math.sqrt(2) * 2.0**-24 * math.sqrt(length / 6))
    assert 0.25 * law / 5 < rms < law / 5


def test_the_lengths_are_those_of_the_model_and_of_the_rows() -> None:
    """Every list is the stand-in's own: hidden, intermediate, head and vocabulary sizes."""
    folder = PROJECT / "harness" / "measuring" / "stand_in" / "qwen2_vl"
    config = read_object(folder / "config.json", "restore it")
    tower = config["vision_config"]
    hidden, wide, depth = (
        config[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    head = hidden // config["num_attention_heads"]
    rank, inner = 8, tower["mlp_ratio"] * tower["embed_dim"]
    merged = tower["spatial_merge_size"] ** 2 * tower["embed_dim"]
    patch = tower["in_chans"] * tower["temporal_patch_size"] * tower["patch_size"] ** 2
    one_tower = 7 * tower["embed_dim"] + inner + tower["embed_dim"] // tower["num_heads"]
    one_tower += 2 * LARGEST_PICTURE
    one_layer = (2 + 3 + 2 + 1 + 2) * hidden + 2 * rank + head + 2 * TOKENS + wide
    forward = patch + tower["depth"] * one_tower + 2 * tower["embed_dim"] + 2 * merged
    forward += depth * one_layer + 2 * hidden + config["vocab_size"] + 577
    kinds = read_kinds(KINDS, BY_HAND)
    terms = {way: sum(s.times * s.length for s in sums) for way, sums in kinds.ways.items()}
    assert terms == {"forward": forward, "backward": 2 * forward + ROWS * TOKENS}


def test_what_grows_with_the_steps_does_so_and_what_is_logged_short_has_a_unit() -> None:
    by_name = {(g.rung, g.metric): g for g in OBSERVED}
    norms, losses = by_name["trajectory", "grad_norm"], by_name["trajectory", "loss"]

    def share(golden: Golden, case: str) -> float:
        return golden.between[case].limit / float(str(golden.cases[case]))

    assert share(norms, "step_0035") == pytest.approx(7 * share(norms, "step_0005"))
    assert all(1e-4 < band.limit < 6e-4 for band in losses.between.values())


def test_the_band_between_kinds_stands_in_no_golden_file() -> None:
    for golden in OBSERVED:
        assert golden.between
        assert "between" not in golden_to_json(golden)
        assert read_golden(Path(golden.path)).between == {}


@pytest.mark.parametrize(
    "change", [{"schema": 2}, {"ways": {}}, {"bands": [{"metric": "forward.loss"}]}]
)
def test_malformed_arithmetic_names_its_file(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "kinds.json"
    raw = {k: v for k, v in read_object(KINDS, "restore it").items() if k != "seal"}
    write_sealed(path, {**raw, **change})
    with pytest.raises(BadInput, match=str(path)):
        read_kinds(path, BY_HAND)


def test_of_two_other_kinds_the_first_is_taken_and_nothing_is_not_run() -> None:
    device = "cpu-x86_64-avx2"
    (loss,) = (g for g in alike(OBSERVED) if (g.rung, g.metric) == ("forward", "loss"))
    facts = facts_of(records_of((loss,), device, 0.0))
    goldens = [loss, replace(loss, device_key="cpu-aarch64-default")]
    borrowed = list(across_kinds(goldens, facts))
    assert [set(golden.cases) for golden in borrowed] == [{case} for case in loss.cases]
    assert all("observed on cpu-x86_64-avx512" in golden.reason for golden in borrowed)
    assert list(never_observed(goldens, facts)) == []


# Two sums one after another over 3 terms and one over 6: N = 12 terms.
TWELVE = (Sum("one", 2, 3), Sum("other", 1, 6))
LAW = 5 * math.sqrt(2) * 2.0**-24 * math.sqrt(12 / 6)


@pytest.mark.parametrize(
    ("between", "value", "limit"),
    [
        ({}, 4.0, 2 * LAW * 4),
        ({}, -4.0, 2 * LAW * 4),
        # Of a list the largest; of none at all nothing moves.
        ({}, [1.0, -8.0, 3.0], 2 * LAW * 8),
        ({}, [], 0.0),
        # Of a difference of two values of size 3 both err, each by itself.
        ({"of": 3.0}, 1e-9, 2 * LAW * 3 * math.sqrt(2)),
        # Two decimals kept: one unit of the last, and a shade for float64.
        ({"decimals": 2}, 4.0, 2 * LAW * 4 + 0.010001),
        ({"decimals": 0}, 0.0, 1.0001),
        # At the twelfth step twelve times as much; before the first one as at it.
        ({"grows": True}, 4.0, 12 * 2 * LAW * 4),
    ],
)
def test_the_band_between_kinds_is_its_arithmetic(
    between: dict[str, object], value: Json, limit: float
) -> None:
    band = Between("forward.x", "way", 2.0, "why", **between)  # type: ignore[arg-type]
    kinds = Kinds("qwen2_vl", "stand-in", {"way": TWELVE}, (band,))
    assert kinds.limits("forward.x", {"step_0012": value, "text": "none"}) == {
        "step_0012": (pytest.approx(limit, rel=1e-12), "why")
    }
    for case in ("step_0000", "whole"):
        ((first, _),) = kinds.limits("forward.x", {case: value}).values()
        assert first == pytest.approx(limit / (12 if band.grows else 1), rel=1e-12)
    assert kinds.limits("forward.y", {"": value}) == {}


def test_a_band_whose_sums_are_not_listed_names_them_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "kinds.json"
    raw = {k: v for k, v in read_object(KINDS, "restore it").items() if k != "seal"}
    band = {"metric": "forward.loss", "way": "sideways", "gain": 1.0, "reason": "r"}
    write_sealed(path, {**raw, "bands": [*raw["bands"], band]})
    with pytest.raises(BadInput, match="no sums are listed for 'sideways'") as refused:
        read_kinds(path, BY_HAND)
    assert str(path) in str(refused.value)


def test_what_one_case_has_of_its_own_the_others_borrow() -> None:
    """Case by case: a number of this device for one of two leaves the other to arithmetic, and no
    case is both borrowed and said to be missing."""
    device = "cpu-x86_64-avx2"
    (losses,) = (g for g in alike(OBSERVED) if (g.rung, g.metric) == ("trajectory", "loss"))
    facts = facts_of(records_of((losses,), device, 0.0))
    first, *others = losses.cases
    own = replace(losses, device_key=device, cases={first: losses.cases[first]})
    # A truth is of no device, another stack's number not of this one.
    truth = replace(losses, kind="truth")
    theirs = replace(losses, stack="latest")
    borrowed = list(across_kinds([own, truth, theirs, losses], facts))
    assert [case for golden in borrowed for case in golden.cases] == others
    assert {golden.device_key for golden in borrowed} == {device}
    for golden in borrowed:
        (case,) = golden.cases
        assert golden.band == losses.between[case]
        assert golden.cases[case] == losses.cases[case]
    # What this device has of its own is nowhere else.
    assert list(never_observed([own], facts)) == []
    assert list(across_kinds([own], facts)) == []
    # A case of which arithmetic says nothing is missing, and so is what a GPU alone has.
    bare = replace(losses, between={first: losses.between[first]})
    assert [set(g.cases) for g in across_kinds([bare], facts)] == [{first}]
    left = list(never_observed([bare, truth, theirs], facts))
    assert [item.finding for item in left] == [f"trajectory.loss.{case}" for case in others]
    assert all("no number was observed on cpu-x86_64-avx2 yet" in item.reason for item in left)
    assert all("calibrate trajectory.loss --stack reference" in item.reason for item in left)
    assert not any(item.required for item in left)
    gpu = replace(losses, device_key="cuda-nvidia-h200")
    assert list(across_kinds([gpu], facts)) == []
    assert len(list(never_observed([gpu], facts))) == len(losses.cases)
    whole = replace(bare, cases={"": 1.0})
    assert [item.finding for item in never_observed([whole], facts)] == ["trajectory.loss"]
