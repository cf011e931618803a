"""What the lane measured: the README says what the files say, they what their raw steps say."""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.report.lane import alone, ladder, published, table
from harness.records.recipes import variant_digests
from harness.records.record import Metric, Provenance, Record, write_record
from harness.records.seals import write_sealed
from suites.commands import Command
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
        assert raw["device_key"] == device, name
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


def test_what_has_no_file_is_listed_as_not_run() -> None:
    records = published.read(published.FOLDER / "cuda-nvidia-h200")
    left = published.not_run(records)
    assert "trainer" in left[800]
    assert "data_workers" in left[800]
    assert "fastest" not in left[800]
    full = {**records, "trainer-800.out_of_memory": {"case": "trainer"}}
    assert "trainer" not in published.not_run(full)[800]
    less = {k: v for k, v in records.items() if k != "cached_vision-800"}
    assert published.not_run(less)[800] == sorted(
        [*left[800], "cached_vision"], key=[*published.not_run({})[800], *left[800]].index
    )


def test_what_no_case_measures_is_said_until_it_is_there() -> None:
    def left(*records: dict[str, Any]) -> str:
        return " ".join(published.unmeasured({str(i): r for i, r in enumerate(records)}))

    nothing = left()
    for words in ("ladder on CUDA", "several GPUs", "an out-of-memory", "reference's library"):
        assert words in nothing
    assert "ladder" not in left({"case": "ladder"})
    assert "several GPUs" not in left({"case": "several"})
    lost = {"case": "fastest", "status": "out_of_memory", "sentence": "Out of memory: logits."}
    assert "out-of-memory" not in left(lost)
    assert alone.memory({"fastest-1300.out_of_memory": lost}) == "- Out of memory: logits."


def test_the_trainers_line_is_its_ratio_with_an_interval_and_what_was_wanted() -> None:
    raw = {
        "case": "trainer",
        "tokens": 800,
        "batch": {"samples": 32},
        "end_to_end_seconds": 8.0,
        "data_loading_share": 0.2,
        "runs": {"bare": [7.0] * 8, "trainer": [6.0] * 4 + [7.0] * 4},
    }
    line = alone.trainer({"trainer-800": raw})
    # Half of the pairs say 7/6, half say 1: the median lies between, in logarithms.
    assert f"{math.sqrt(7 / 6):.2f} (1.00–1.17) of the bare step's speed" in line
    assert "(wanted 0.9: reached)" in line
    assert "4.00 samples/s" in line
    assert "20%" in line
    slow = {**raw, "runs": {"bare": [7.0] * 8, "trainer": [8.0] * 8}}
    assert "(wanted 0.9: **not reached**)" in alone.trainer({"trainer-800": slow})
    assert alone.trainer({}) == ""


def test_a_way_that_no_longer_counts_says_why_and_is_missing() -> None:
    def way(count: int) -> dict[str, Any]:
        meters = [{"training": {"peak_allocated": 6e9}}] * count
        return {"processes": count, "losses": [1.0], "per_process": meters}

    distance = {"loss_gap": 2e-3, "cosine": 0.99, "equal": False, "speed_over_one": 1.5}
    raw = {
        "case": "several",
        "batch": {"samples": 32},
        "ways": {"one": way(1), "fsdp": way(2)},
        "against_one": {"fsdp": distance},
        "superseded": {"fsdp": "it packed into bytes"},
    }
    assert "(**not equal**; it packed into bytes)" in alone.several({"several": raw})
    assert "FSDP" in " ".join(published.unmeasured({"several": raw}))
    assert "FSDP" not in " ".join(published.unmeasured({"several": {**raw, "superseded": {}}}))


def test_gpu_counts_that_no_long_samples_were_measured_on_are_not_run() -> None:
    def left(tokens: int) -> str:
        raw = {"case": "several", "tokens": tokens, "ways": {"one": {"processes": 1}}}
        raw["ways"] = {**raw["ways"], "fsdp": {"processes": 2}}  # type: ignore[dict-item]
        return " ".join(published.unmeasured({"several": raw}))

    assert "samples of 800 tokens over 4, 8 GPUs of one host (*not run*" in left(813)
    assert "samples of 800 tokens over 2, 4, 8 GPUs of one host (*not run*" in left(168)


def test_several_gpus_are_told_by_execution_and_by_scaling() -> None:
    memory = [{"training": {"peak_allocated": 6e9}}, {"training": {"peak_allocated": 5e9}}]
    shares = [{"share": 0.02}, {"share": 0.04}]
    two = {"processes": 2, "losses": [1.0] * 8, "per_process": memory, "communication": shares}
    alike = {"loss_gap": 1e-4, "norm_gap": 2e-3, "cosine": 1.0, "equal": True}
    raw = {
        "case": "several",
        "under": "frozen_tower",
        "batch": {"samples": 32},
        "ways": {
            "one": {"processes": 1, "per_process": [{"training": {"peak_allocated": 1e10}}]},
            "data_parallel": two,
            "fsdp_weak": two,
        },
        "against_one": {
            "data_parallel": {**alike, "speed_over_one": 1.9},
            "fsdp_weak": {"efficiency": 0.91, "speed_over_one": 1.82},
        },
    }
    strong, weak = alone.several({"several-800-frozen_tower": raw}).splitlines()
    assert strong == (
        "- data parallel over 2 GPUs under `frozen_tower` against one on the same 32 samples a "
        "step, 8 steps: loss gap 1.0e-04, gradient norm 2.0e-03, LoRA's cosine 1.000000 (equal), "
        "1.90× its speed, at most 4% of the time in communication, 6.0 GB a GPU at most (one "
        "process: 10.0)."
    )
    assert weak.startswith(
        "- fsdp over 2 GPUs under `frozen_tower`, 32 samples a step for each: efficiency 0.91, "
    )


def test_what_broke_is_said_with_its_error_and_is_not_missing() -> None:
    raw = {
        "case": "compiled",
        "tokens": 800,
        "type": "ValueError",
        "message": "\n\nnot a number\nmore",
        "traceback": "...",
    }
    records = {"compiled-800.broken": raw}
    assert alone.broken(records) == "- Broke: `compiled` at 800 tokens: ValueError: not a number."
    known = {"compiled-800.broken": {**raw, "why": "it overflows"}}
    assert alone.broken(known) == "- Broke: `compiled` at 800 tokens: it overflows."
    assert "compiled" not in published.not_run(records)[800]
    assert alone.broken({"fastest-800": {"case": "fastest"}}) == ""


def test_a_ladders_line_names_what_is_not_known() -> None:
    def differing(finding: str, known: bool) -> dict[str, Any]:
        return {"finding": finding, "known_on_like": known}

    raw = {
        "case": "ladder",
        "model": "stand-in",
        "like": "latest",
        "verdicts": {"SAME": 435, "CHANGED": 11},
        "versions": dict.fromkeys(("transformers", "trl", "peft", "bitsandbytes", "torch"), "1.2"),
        "differing": [differing("a.b", True), *(differing(f"c.{i}", False) for i in range(10))],
    }
    line = alone.ladders({"ladder": raw})
    assert "435 SAME, 11 CHANGED" in line
    assert "Not known from the stack `latest`: `c.0`, " in line
    assert "`c.7` and 2 more." in line
    assert "a.b" not in line
    assert "`latest`: nothing." in alone.ladders(
        {"ladder": {**raw, "differing": [differing("a.b", True)]}}
    )


def test_a_ladder_is_judged_again_and_a_cpus_is_refused(tmp_path: Path) -> None:
    metric = Metric("text", "rendered", "user", "x", "text")
    place = Provenance(
        "current", "stand-in", "catalogue", "cuda-x", "r", "s", {"torch": "1"}, family="qwen2_vl"
    )
    write_record(Record("text", place, (metric,)), tmp_path / "gpu")
    record = ladder.record_of(tmp_path / "gpu", "latest")
    assert (record["case"], record["device_key"], record["how"]) == ("ladder", "cuda-x", "measured")
    assert sum(record["verdicts"].values()) >= len(record["differing"]) + len(record["not_run"])
    with pytest.raises(BadInput, match="no committed stack"):
        ladder.record_of(tmp_path / "gpu", "lost")
    other = dataclasses.replace(place, device_key="cpu-x86_64-avx2")
    write_record(Record("text", other, (metric,)), tmp_path / "cpu")
    with pytest.raises(BadInput, match="give a GPU's records"):
        ladder.record_of(tmp_path / "cpu", "latest")


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no measurement"):
        published.read(tmp_path)
    write_sealed(tmp_path / "x-800.json", {"schema": 1, "how": "guessed"})
    with pytest.raises(BadInput, match=r"x-800\.json is no measurement"):
        published.read(tmp_path)
    other = {"schema": 1, "how": "measured", "case": "recipe_again"}
    other |= {"recipe_digest": variant_digests()["mask-prompt"]}
    write_sealed(tmp_path / "x-800.json", other)
    with pytest.raises(BadInput, match=r"x-800\.json is of the recipe mask-prompt; the table is"):
        published.read(tmp_path)


def test_two_machines_in_one_folder_are_refused() -> None:
    records = published.read(published.FOLDER / "cuda-nvidia-h200")
    other = {**records["fastest-800"], "versions": {"torch": "1.0"}}
    with pytest.raises(BadInput, match="other versions or elsewhere"):
        table.provenance({**records, "fastest-800": other})


def test_the_verb_prints_the_page_and_refuses_what_is_no_measurement(
    harness: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = harness("lane", "table")
    assert (ended.code, ended.stdout) == (0, table.page())
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    write_sealed(tmp_path / "cuda-x" / "y-800.json", {"how": "measured"})
    ended = harness("lane", "table")
    assert ended.code == 2
    assert "is no measurement" in ended.sentence
