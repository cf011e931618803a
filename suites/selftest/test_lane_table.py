"""What the lane measured: the README says what the files say, they what their raw steps say."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from harness.judging.report.lane import published, table
from suites.oracles import flops
from suites.oracles import footprint as shapes

DEVICES = sorted(folder.name for folder in published.FOLDER.iterdir() if folder.is_dir())


RECORDS = [
    (device, name, raw)
    for device in DEVICES
    for name, raw in published.read(published.FOLDER / device).items()
]


PAIRS = [(f"{device}/{name}", raw) for device, name, raw in RECORDS if "speed_up" in raw]


def mixed(raw: dict[str, Any]) -> dict[str, Any]:
    """The recipe as a variant, on the pictures that its partner gets."""
    return {"grouped": raw["variant"].get("grouped", False)}


SIDES = [
    pytest.param(
        raw[side], raw["variant"] if side == "changed" else mixed(raw), id=f"{name}-{side}"
    )
    for name, raw in PAIRS
    for side in ("recipe", "changed")
]


def test_the_page_holds_what_the_verb_writes() -> None:
    assert table.PATH.read_text(encoding="utf-8") == table.page(), "harness lane table --write"


def test_every_record_says_where_it_comes_from() -> None:
    assert len(PAIRS) >= 10
    for device, name, raw in RECORDS:
        # Measured there with other libraries: behind the key, a folder of its own.
        assert f"{device}-".startswith(f"{raw['device_key']}-"), name
        assert raw["created"][:4] >= "2026"
        assert raw["commit"]
        assert raw["versions"]["torch"]
        assert raw["how"] == "measured"


def timed_of(raw: dict[str, Any], side: str) -> list[float]:
    runs = raw["runs"][side]
    if "losses" in runs[0]:
        return [seconds for block in runs for seconds in block["seconds"][2:]]
    return [run["seconds"] for run in runs[2:]]


def losses_of(raw: dict[str, Any], side: str) -> list[float]:
    runs = raw["runs"][side]
    # Blocks of one side are one and the same training.
    return runs[0]["losses"] if "losses" in runs[0] else [run["loss"] for run in runs]


@pytest.mark.parametrize(("name", "raw"), PAIRS, ids=[n for n, _ in PAIRS])
def test_a_pair_follows_from_its_raw_steps(name: str, raw: dict[str, Any]) -> None:
    # The first two steps of each side, or of each block through the trainer, only warm up.
    recipe, changed = (timed_of(raw, side) for side in "AB")
    assert len(recipe) == len(changed) == raw["speed_up"]["pairs"]
    logs = [math.log(a / b) for a, b in zip(recipe, changed, strict=True)]
    assert raw["speed_up"]["pairs"] >= 20
    assert raw["speed_up"]["median"] == pytest.approx(math.exp(statistics.median(logs)))
    # 95 % of a binomial: the true median of 20 lies between the 6th and the 15th value; a
    # bootstrap of the median stays a rank or two around that.
    ordered = sorted(math.exp(x) for x in logs)
    assert ordered[3] <= raw["speed_up"]["low"] <= ordered[7]
    assert ordered[12] <= raw["speed_up"]["high"] <= ordered[16]
    losses = [losses_of(raw, side) for side in "AB"]
    gap = max(abs(b / a - 1) for a, b in zip(*losses, strict=True))
    assert raw["loss_gap"] == pytest.approx(gap)
    grouped = raw["variant"].get("grouped", False)
    assert raw["safe"] is (gap <= 1e-3 and raw["cosine"] >= 0.999 and not grouped)
    assert published.pair(raw).safe is raw["safe"]
    for side, seconds in (("recipe", recipe), ("changed", changed)):
        assert raw[side]["seconds"] == pytest.approx(statistics.median(seconds))


@pytest.mark.parametrize(("side", "variant"), SIDES)
def test_flops_and_mfu_are_the_formulas(side: dict[str, Any], variant: dict[str, Any]) -> None:
    batch = side["batch"]
    samples, seven = batch["samples"], shapes.SEVEN_B
    mean = batch["patches_per_sample"]
    pictures = [round(mean)] * samples
    if variant.get("grouped"):
        # Attention inside a picture grows with its square: the mean stands for no mixed sizes.
        pictures = [4 * round((mean / 4 * share) ** 0.5) ** 2 for share in (0.25, 0.5, 1, 2.25)]
        assert statistics.fmean(pictures) == mean
        pictures *= samples // 4
    useful = flops.useful(
        seven,
        round(samples * batch["tokens_per_sample"]),
        round(samples * batch["supervised_per_sample"]),
        pictures,
    )
    if variant.get("tower") == "cached":
        useful -= flops.vision_forward(seven, pictures)
    # Averages over two steps' batches stand for each step's own: under a token a sample.
    assert side["useful_flops"] == pytest.approx(useful, rel=2e-3)
    rate = side["matmul_rate"]
    assert side["mfu"] == pytest.approx(side["useful_flops"] / side["seconds"] / rate)
    assert side["hfu"] == pytest.approx(side["executed_flops"] / side["seconds"] / rate)
    assert side["mfu"] < side["hfu"] < 1
    assert side["samples_per_second"] == pytest.approx(samples / side["seconds"])


def test_loaded_bytes_are_the_oracles() -> None:
    footprints = [raw for _, name, raw in RECORDS if raw["case"] == "footprint"]
    assert footprints
    wanted = shapes.bytes_by_part(shapes.SEVEN_B)
    for raw in footprints:
        assert raw["total"]["measured"] == sum(wanted.values()) == 5_898_851_352
        assert {n: p["measured"] for n, p in raw["components"].items()} == wanted
        assert raw["differing"] == []


def measured_pair(
    name: str, ratio: float, peak: int, *, tokens: int = 800, safe: bool = True, past: str = ""
) -> published.Pair:
    return published.Pair(
        name,
        name,
        tokens,
        32,
        ratio,
        ratio * 0.99,
        ratio * 1.01,
        1e-4 if safe else 2e-3,
        1.0,
        (100, peak),
        0.4,
        safe,
        past,
    )


def test_the_leanest_that_is_no_slower_saves_memory() -> None:
    candidates = [
        measured_pair("lean", 0.5, 30, tokens=1300),
        measured_pair("quick", 4.0, 160, tokens=1300),
    ]
    assert "no slower" not in table.winners(candidates)
    candidates.append(measured_pair("fair", 1.5, 60, tokens=1300))
    assert "no slower: `fair`, 0.60 of" in table.winners(candidates)


def test_an_unsafe_or_superseded_variant_never_wins() -> None:
    candidates = [
        measured_pair("quick", 3.0, 90, safe=False),
        measured_pair("old", 2.9, 90, past="older code"),
        measured_pair("good", 2.0, 90),
        measured_pair("slow", 1.1, 20),
        measured_pair("thin", 0.5, 1, tokens=1300, safe=False),
        measured_pair("lean", 0.7, 30, tokens=1300),
        measured_pair("easy", 1.2, 60, tokens=1300),
    ]
    quick, lean = published.fastest(candidates), published.leanest(candidates)
    assert quick is not None
    assert lean is not None
    assert (quick.name, lean.name) == ("good", "lean")
    text = table.winners(candidates)
    assert "2.00× the recipe's speed (wanted 1.5×: reached)" in text
    assert "MFU 0.400 (wanted 0.45: **not reached**)" in text
    assert "`lean`, 0.30 of the recipe's peak (wanted 0.5: reached) at 0.70× its speed" in text
    assert "`easy`, 0.60 of the recipe's peak at 1.20× its speed" in text


def test_without_a_safe_one_nothing_is_named() -> None:
    assert published.fastest([measured_pair("quick", 3.0, 90, safe=False)]) is None
    assert table.winners([measured_pair("quick", 3.0, 90, safe=False)]) == ""
