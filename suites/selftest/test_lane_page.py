"""What the lane's page says of what is missing, broken, superseded or unknown."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.report.lane import alone, ladder, published, table
from harness.records.recipes import variant_digests
from harness.records.record import Metric, Provenance, Record, write_record
from harness.records.seals import write_sealed
from suites.commands import Command


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
