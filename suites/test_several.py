"""The script that measures one process, data parallel and FSDP on the same steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import BadInput, HarnessError
from harness.judging.report.lane.published import read
from harness.measuring import _compat
from harness.measuring.lane import launching, several, several_record, several_run
from harness.measuring.snapshots.loading import padded_side
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.capacity import RECORD
from harness.measuring.training.run import _load
from harness.measuring.training.spec import TrainSpec, refuse_names
from harness.recipe.published import REFERENCE, variant
from harness.records.files import read_json, write_json

LACK = _compat.lacks_sharded_four_bit()
WORDS = ["--device", "cpu", "--model", "stand-in", "--steps", "3", "--micro", "2", "--size", "1"]


def spec() -> TrainSpec:
    return several.training_of(several.spec_of([*WORDS, "--out", "x"]), STAND_IN, "stand-in")


def test_every_way_trains_the_recipe_that_was_named() -> None:
    given = several.spec_of([*WORDS, "--out", "x", "--recipe", "mask-prompt"])
    assert several.training_of(given, STAND_IN, "stand-in").recipe == variant("mask-prompt")
    assert spec().recipe == REFERENCE
    plain = several.spec_of(["--out", "x"])
    assert (plain.micro, plain.size) == (8, 4)


def test_another_side_to_pad_on_reaches_the_trainings_batches() -> None:
    given = several.spec_of([*WORDS, "--out", "x", "--padding", "right"])
    right = several.training_of(given, STAND_IN, "stand-in")
    assert right == replace(spec(), padding="right")
    assert right.digest != spec().digest
    sides = [padded_side(_load(replace(each, quantisation="none"))[1]) for each in (spec(), right)]
    assert sides == ["left", "right"]
    with pytest.raises(ValueError, match="padding is 'above', none of"):
        refuse_names(replace(spec(), padding="above"))


def finished(
    folder: Path,
    losses: list[float],
    weights: list[float],
    count: int,
    way: str = "fsdp",
    norms: tuple[float, ...] = (0.5, 0.25),
    peak: int = 8,
    graphs: tuple[tuple[int, ...], ...] = ((3, 3, 3, 3, 3, 3, 3),) * 2,
) -> dict[str, Any]:
    """A way's files as its processes leave them, and what is read from them."""
    curve = [{"step": i, "loss": loss, "targets": 9} for i, loss in enumerate(losses, start=1)]
    log = [{"step": i, "loss": 1.0, "grad_norm": norm} for i, norm in enumerate(norms, start=1)]
    run = {"curve": curve, "log": log, "notes": ["n"], "frozen_before": "f", "frozen_after": "f"}
    write_json(folder / "run" / "run.json", run)
    (folder / "run" / "adapter").mkdir()
    tensors = {"x.lora_B.weight": torch.tensor(weights), "x.lora_A.weight": torch.ones(2)}
    save_file(tensors, str(folder / "run" / "adapter" / "adapter_model.safetensors"))
    for rank in range(count):
        # The second process is slower by half a second in each step. Three steps warm up, the
        # last one is profiled.
        seconds = [9.0, 9.0, 9.0, 1.5 + rank / 2, 1.0 + rank / 2, 2.0 + rank / 2, 7.0]
        process: dict[str, Any] = {
            "device": "cpu",
            "seconds": seconds,
            "communication": {"share": 0.1},
        }
        process["graphs"] = list(graphs[rank])
        memory = {"training": {"peak_allocated": peak - rank}}
        write_json(folder / f"meters-{rank}.json", process | memory)
    return several_record.measured(way, spec(), count, folder)


def test_a_step_lasts_until_the_last_process_and_only_the_middle_ones_count(tmp_path: Path) -> None:
    summary = finished(tmp_path, [3.0, 2.0], [1.0, 0.0], 2)
    # 2 samples a step; 2.0, 1.5 and 2.5 seconds: the median is 2.
    assert summary["samples_per_second"] == pytest.approx(1.0)
    assert (summary["processes"], summary["losses"], summary["frozen_unchanged"]) == (
        2,
        [3.0, 2.0],
        True,
    )
    assert (summary["norms"], summary["communication"]) == ([0.5, 0.25], [{"share": 0.1}] * 2)


def test_a_step_in_which_any_process_compiled_does_not_count(tmp_path: Path) -> None:
    """The second compiled in its second step, which warms up, and in its fourth, of 2 s."""
    graphs = ((3, 3, 3, 3, 3, 3, 3), (2, 3, 3, 4, 4, 4, 4))
    summary = finished(tmp_path / "one", [3.0], [1.0], 2, graphs=graphs)
    assert summary["compiled_anew"] == [1, 3]
    # Of 2.0, 1.5 and 2.5 seconds the last two are left.
    assert summary["samples_per_second"] == pytest.approx(1.0)
    every = ((1, 2, 3, 4, 5, 6, 7),) * 2
    summary = finished(tmp_path / "all", [3.0], [1.0], 2, graphs=every)
    # None is left, so all count: 9 three times, 2.0, 1.5, 2.5, 7.
    assert summary["samples_per_second"] == pytest.approx(2 / 7.0)


def test_distance_from_one_process_by_hand(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", [4.0, 2.0], [1.0, 0.0], 1, peak=10)
    other = finished(tmp_path / "other", [4.0, 2.002], [0.0, 1.0], 2, norms=(0.5, 0.26), peak=6)
    adapters = [tmp_path / way / "run" / "adapter" for way in ("one", "other")]
    distance = several_record.against(one, other, adapters)
    assert distance["loss_gap"] == pytest.approx(1e-3)
    assert distance["norm_gap"] == pytest.approx(0.04)
    # A is (1, 1) on both sides, B turned by a right angle: 2 / sqrt(3 * 3), and 0 for B alone.
    assert distance["cosine"] == pytest.approx(2 / 3)
    assert distance["cosine_b"] == pytest.approx(0.0)
    assert distance["equal"] is False
    # One process alone has steps of 1.5, 1 and 2 seconds.
    assert distance["speed_over_one"] == pytest.approx(1.5 / 2.0)
    assert distance["efficiency"] == pytest.approx(1.5 / 2.0 / 2)
    assert distance["peak_over_one"] == pytest.approx(0.6)
    again = several_record.against(one, one, adapters[:1] * 2)
    assert (again["loss_gap"], again["equal"]) == (0.0, True)


def test_another_gradient_norm_is_not_equal(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", [4.0], [1.0, 0.0], 1)
    other = {**one, "norms": [0.5, 0.2528]}
    adapters = [tmp_path / "one" / "run" / "adapter"] * 2
    assert several_record.against(one, other, adapters)["equal"] is False
    other = {**one, "norms": [0.5, 0.2522]}
    assert several_record.against(one, other, adapters)["equal"] is True


def test_more_samples_a_step_are_compared_by_size_alone(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", [4.0], [1.0, 0.0], 1)
    more = finished(tmp_path / "more", [3.0], [9.0, 0.0], 2, way="data_parallel_weak")
    distance = several_record.against(one, more, [])
    assert "loss_gap" not in distance
    # The helper's spec has two samples for both: 1.5 s against 2 s, two processes.
    assert distance["efficiency"] == pytest.approx(0.375)
    grown = several.of_way("data_parallel_weak", spec(), 2)
    assert (grown.accumulation, grown.micro_batch, grown.rows) == (4, 1, 3 * 4)
    smaller = several.of_way("fsdp_split", replace(spec(), micro_batch=4), 2)
    assert (smaller.accumulation, smaller.micro_batch, smaller.rows) == (4, 2, 3 * 2)
    with pytest.raises(BadInput, match="--size 1 cannot be cut among 2 processes"):
        several.of_way("fsdp_split", spec(), 2)


def test_the_share_of_communication_is_that_of_nccls_kernels() -> None:
    def event(name: str, microseconds: float) -> SimpleNamespace:
        return SimpleNamespace(key=name, self_device_time_total=microseconds)

    events = [
        event("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", 3e5),
        event("void cutlass::Kernel2", 9e5),
        event("ncclDevKernel_AllGather_RING_LL", 1e5),
    ]
    communication_share = several_run.communication(
        SimpleNamespace(key_averages=lambda: events), 2.0
    )
    assert communication_share == pytest.approx(
        {"step_seconds": 2.0, "nccl_seconds": 0.4, "share": 0.2}
    )


def test_unpacked_weights_are_not_shared_out() -> None:
    words = [*WORDS, "--out", "x", "--under"]
    packed = several.planned(several.spec_of([*words, "frozen_tower"]))
    assert packed == [way for way in launching.WAYS if way != "fsdp_split"]
    whole = several.planned(several.spec_of([*WORDS, "--out", "x", "--size", "4"]))
    assert whole == list(launching.WAYS)
    unpacked = several.planned(several.spec_of([*words, "fastest"]))
    assert unpacked == ["one", "data_parallel", "data_parallel_weak"]


def test_longer_samples_are_the_catalogues_with_larger_pictures() -> None:
    given = several.spec_of([*WORDS, "--out", "x", "--tokens", "400"])
    training = several.training_of(given, STAND_IN, "stand-in")
    batch = several_record.batch_of(training)
    assert batch["tokens_per_sample"] == pytest.approx(400, rel=0.05)


def test_other_targets_are_no_comparison(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", [4.0], [1.0, 0.0], 1)
    other = {**one, "targets": [8]}
    with pytest.raises(HarnessError, match="did not train what one process trained"):
        several_record.against(one, other, [tmp_path / "one" / "run" / "adapter"] * 2)


def test_one_process_sees_one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would spread a batch over every card that one process sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    monkeypatch.setenv("WORLD_SIZE", "7")
    assert launching.environment("one", "cuda")["CUDA_VISIBLE_DEVICES"] == "5"
    assert launching.environment("fsdp", "cuda")["CUDA_VISIBLE_DEVICES"] == "5,6"
    assert launching.environment("fsdp", "cpu")["CUDA_VISIBLE_DEVICES"] == ""
    assert "WORLD_SIZE" not in launching.environment("fsdp", "cuda")


@pytest.mark.parametrize(
    ("words", "cards", "sentence"),
    [
        (["--device", "cuda", "--out", "x"], 1, "Several GPUs are needed, here is 1"),
        (["--device", "cuda", "--out", "x", "--processes", "3"], 2, "--processes 3 cannot be had"),
        (["three", *WORDS, "--out", "x"], 2, "There is no way 'three'; choose from one, data_"),
        ([*WORDS, "--micro", "3", "--out", "x"], 2, "--micro 3 cannot be shared by 2 processes"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    words: list[str],
    cards: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert several.main(words) in {2, 3}
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert sentence in shown
    assert shown.count("\n") == 1


def test_an_out_of_memory_leaves_a_record_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = []

    def launched(way: str, spec: TrainSpec, count: int, folder: Path, limit: float) -> str:
        begun.append(way)
        if way == "data_parallel":
            record_left = {"status": "out_of_memory", "sentence": "Out of memory: weights."}
            write_json(folder / "run" / RECORD, record_left)
            return "error: Out of memory"
        finished(folder, [3.0, 2.0], [1.0, 0.0], count, way)
        return ""

    monkeypatch.setattr(several, "launched", launched)
    assert several.main([*WORDS, "--out", str(tmp_path)]) == 3
    assert begun == [way for way in launching.WAYS if way != "fsdp_split"]
    kept = read_json(tmp_path / "data_parallel.out_of_memory.json")
    assert kept["status"] == "out_of_memory"
    assert "data_parallel: Out of memory: weights." in capsys.readouterr().out
    assert not (tmp_path / "several.json").exists()
    # The next call goes on with what is missing only.
    begun.clear()
    several.main([*WORDS, "--out", str(tmp_path)])
    assert begun == ["data_parallel"]
    assert several.main([*WORDS, "--out", str(tmp_path), "--steps", "4"]) == 2


@pytest.mark.slow
def test_a_way_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher's processes wait for one that never comes; none is left behind."""
    wait = "import os,time,pathlib; pathlib.Path(f'{os.getpid()}.pid').touch(); time.sleep(99)"
    script = tmp_path / "hang.py"
    script.write_text(f"import os; os.chdir({str(tmp_path)!r}); {wait}", encoding="utf-8")

    def hanging(way: str, count: int, words: list[str]) -> list[str]:
        launch = command(way, count, words)
        return [*launch[: launch.index("harness.measuring.lane.several_run") - 1], str(script)]

    command = launching.command
    monkeypatch.setattr(launching, "command", hanging)
    sentence = launching.launched("data_parallel", spec(), 2, tmp_path / "run", 25.0)
    assert sentence.startswith("stopped after 25 s")
    begun = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert len(begun) == 2
    assert not [number for number in begun if Path(f"/proc/{number}").exists()]


@pytest.mark.slow
@pytest.mark.skipif(LACK is not None, reason=f"NOT_RUN: FSDP with 4-bit storage {LACK}")
def test_the_three_ways_train_alike_on_a_cpu(tmp_path: Path) -> None:
    three = ["one", "data_parallel", "fsdp"]
    assert several.main([*three, *WORDS, "--out", str(tmp_path), "--under", "frozen_tower"]) == 0
    record = read_json(tmp_path / "several.json")
    assert set(record["ways"]) == {"one", *three}
    for way, measured in record["against_one"].items():
        assert measured["equal"], (way, measured)
        assert len(measured["norm_gaps"]) == 3
        assert measured["same_frozen_weights"], way
    bytes_by_way = {
        way: [m["parameter_bytes"] for m in measured["per_process"]]
        for way, measured in record["ways"].items()
    }
    assert bytes_by_way["data_parallel"] == bytes_by_way["one"] * 2
    # A head of its own is whole in both.
    shapes = read_json(STAND_IN / "config.json")
    head = shapes["vocab_size"] * shapes["hidden_size"] * torch.float32.itemsize
    whole = bytes_by_way["one"][0]
    assert sum(bytes_by_way["fsdp"]) == whole + head
    assert max(bytes_by_way["fsdp"]) <= 0.51 * (whole - head) + head
    # The published records' reader takes it as one of the lane's.
    write_json(tmp_path / "golden" / "several.json", record)
    assert read(tmp_path / "golden")["several"]["how"] == "measured"
