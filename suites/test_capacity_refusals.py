"""What does not fit is refused before it begins, and an out of memory leaves its reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import NotRunnable
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.verdicts import judge
from harness.measuring.child import job as child
from harness.measuring.lane import __main__ as command
from harness.measuring.lane import oom
from harness.measuring.lane.bench import Lane
from harness.measuring.lane.shelf import Shelf
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training import capacity
from harness.measuring.training import run as training
from harness.measuring.training.__main__ import main as train_verb
from harness.measuring.training.capacity import Memory
from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.recipe.published import REFERENCE
from harness.records.context import Context
from harness.records.files import read_json, write_json
from harness.records.jobs import ProbeJob
from harness.records.record import Status, Verdict

GIGABYTE = 10**9


SAID = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB\nmore"


@pytest.fixture
def spec() -> TrainSpec:
    return TrainSpec(
        snapshot=str(STAND_IN),
        model="stand-in",
        data="catalogue",
        recipe=REFERENCE,
        device="cuda",
        quantisation="none",
        dtype="float32",
        max_steps=1,
        micro_batch=2,
        accumulation=1,
        learning_rate=1e-3,
        family="qwen2_vl",
        threads=1,
        rows=2,
    )


def card(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 8 * GIGABYTE) -> None:
    """A card with so many bytes."""
    monkeypatch.setattr(capacity, "available", lambda device: Memory(free, total))


def test_a_refusal_names_the_component_both_numbers_and_the_mend() -> None:
    parts = {"weights": 6 * GIGABYTE, "adapter": 1, "logits": 9 * GIGABYTE, "checkpoints": 0}
    need = sum(parts.values())
    capacity.refuse("Training x", parts, Memory(need, need))
    with pytest.raises(NotRunnable) as caught:
        capacity.refuse("Training x", parts, Memory(need - 1, 24 * GIGABYTE))
    sentence = str(caught.value)
    assert sentence.startswith("Refused before it starts: Training x takes at least 15.00 GB")
    assert "logits 9.00" in sentence
    assert "15.00 of the card's 24.00 GB can be had" in sentence
    assert "Most is logits: use fewer samples per micro-batch" in sentence
    assert caught.value.exit_code == 3


def test_a_training_is_refused_before_anything_is_loaded(
    spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    card(monkeypatch, 1_000_000)
    monkeypatch.setattr(training, "_load", lambda _: pytest.fail("the model was loaded"))
    with pytest.raises(NotRunnable, match="Training stand-in with micro-batches of 2 takes at le"):
        training.train(spec, tmp_path / "run", bar=False)
    write_json(tmp_path / "spec.json", spec_to_json(spec))
    assert train_verb([str(tmp_path / "spec.json"), str(tmp_path / "again")]) == 3
    assert "error: Refused before it starts" in capsys.readouterr().err


def test_a_training_that_fits_is_not_refused(
    spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = sum(capacity.training_bytes(spec).values())
    card(monkeypatch, need)
    capacity.refuse_training(spec)
    card(monkeypatch, need - 1)
    with pytest.raises(NotRunnable):
        capacity.refuse_training(spec)
    # More samples per micro-batch take more.
    assert sum(capacity.training_bytes(replace(spec, micro_batch=4)).values()) > need


def test_a_cpu_is_never_asked_for_its_memory(
    spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "available", lambda device: pytest.fail("asked"))
    capacity.refuse_training(replace(spec, device="cpu"))


@pytest.mark.parametrize("where", ["_load", "build_trainer"])
def test_an_out_of_memory_leaves_its_reasons(
    where: str, spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.cuda.OutOfMemoryError(SAID)

    card(monkeypatch, 3 * GIGABYTE)
    on_cpu = replace(spec, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(training, where, full)
        with pytest.raises(NotRunnable, match=r"Out of memory: .* The record is .*out_of_mem"):
            training.train(on_cpu, tmp_path, bar=False)
    reasons = read_json(tmp_path / "out_of_memory.json")
    assert reasons["status"] == "out_of_memory"
    assert reasons["free"] == 3 * GIGABYTE
    assert reasons["total"] == 8 * GIGABYTE
    assert reasons["predicted_total"] == sum(reasons["predicted"].values())
    assert reasons["largest"] in reasons["predicted"]
    assert reasons["message"] == SAID.splitlines()[0]
    assert not (tmp_path / "run.json").exists()
    # The same folder goes on once there is room, and the record goes with the reason for it.
    assert training.train(on_cpu, tmp_path, bar=False)["curve"]
    assert not (tmp_path / "out_of_memory.json").exists()


def test_another_error_is_not_taken_for_one(spec: TrainSpec, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"), capacity.explaining(spec, tmp_path):
        raise RuntimeError("something else")
    assert not (tmp_path / "out_of_memory.json").exists()


def test_a_rung_that_runs_out_of_memory_is_not_run_and_exit_3(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise NotRunnable("Out of memory: logits.")

    monkeypatch.setattr("harness.measuring.probes.trajectory.train", full)
    mine = replace(context, out=tmp_path, has_weights=True)
    record = child.measure(mine, "trajectory")
    (metric,) = record.metrics
    assert (metric.name, metric.status) == ("probe", Status.NOT_RUN)
    assert metric.reason == "Out of memory: logits."
    judgement = judge({"trajectory": record}, read_goldens(), ())
    assert judgement.exit_code == 3
    assert not judgement.red
    assert any(
        i.verdict is Verdict.NOT_RUN and "Out of memory" in i.reason for i in judgement.items
    )


def test_a_run_is_refused_before_its_first_rung(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, 1_000_000)
    mine = replace(context, out=tmp_path, device="cuda", has_weights=True)
    monkeypatch.setattr(child, "describe", lambda given: given)
    monkeypatch.setattr(child, "measure", lambda *_: pytest.fail("a rung was measured"))
    job = ProbeJob(mine, ("text", "trajectory"), 60.0)
    with (tmp_path / "stacks").open("w") as stacks, pytest.raises(NotRunnable, match="Refused be"):
        child.run_job(job, stacks)
    # Where no training is asked for, or it has been measured, nothing is refused.
    child.refuse_large(mine, ["text", "forward"])
    (tmp_path / "trajectory.json").write_text("{}")
    child.refuse_large(mine, ["trajectory"])


@pytest.fixture
def lane() -> Lane:
    return Lane(Shelf(STAND_IN, "cuda", "bitsandbytes"), size=4)


def test_the_lane_counts_the_kept_copy_and_the_other_side(lane: Lane) -> None:
    alone, both = oom.needs(lane, "throughput", 800), oom.needs(lane, "no_checkpointing", 800)
    assert both.keys() - alone.keys() == {"other_side"}
    assert both["other_side"] == alone["weights"] > alone["kept_copy"]
    unpacked = oom.needs(lane, "fastest", 800)["other_side"]
    lean = oom.needs(lane, "leanest", 800)["other_side"]
    assert unpacked > lean == alone["kept_copy"]
    assert oom.needs(lane, "throughput", 1300)["logits"] == alone["logits"] * 1300 / 800


def test_a_case_that_cannot_fit_is_refused(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    need = sum(oom.needs(lane, "fastest", 800).values())
    card(monkeypatch, need)
    oom.refuse(lane, "fastest", 800)
    card(monkeypatch, need - 1)
    with pytest.raises(
        NotRunnable,
        match=r"fastest at 800 tokens, 4 samples .*CASE@TOKENS",
    ):
        oom.refuse(lane, "fastest", 800)


def test_the_lane_goes_on_after_an_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(lane: Lane, tokens: int) -> dict[str, Any]:
        raise torch.cuda.OutOfMemoryError(SAID)

    def fits_not(lane: Lane, case: str, tokens: int) -> None:
        if case == "throughput":
            raise NotRunnable("Refused before it starts: too large.")

    card(monkeypatch, GIGABYTE)
    cases = {"trainer": full, "throughput": full, "footprint": lambda *_: {"seconds": 1.0}}
    monkeypatch.setattr(command, "CASES", cases)
    monkeypatch.setattr(command, "refuse", fits_not)
    words = ["trainer", "throughput", "footprint", "--model", "stand-in", "--device", "cpu"]
    assert command.run(command.spec_of([*words, "--out", str(tmp_path)])) == 3
    document = read_json(tmp_path / "trainer-800.out_of_memory.json")
    assert document["status"] == "out_of_memory"
    assert document["case"] == "trainer"
    assert set(document["predicted"]) >= {"weights", "logits", "kept_copy"}
    refused = read_json(tmp_path / "throughput-800.not_run.json")
    assert refused["status"] == "NOT_RUN"
    assert read_json(tmp_path / "footprint-800.json")["seconds"] == 1.0
    printed = capsys.readouterr()
    assert (
        "trainer@800: Out of memory: trainer at 800 tokens, 4 samples a micro-batch, takes at least"
        in printed.out
    )
    assert "throughput@800: NOT_RUN: Refused" in printed.err


def test_unusable_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import main

    with pytest.raises(SystemExit) as left:
        main(["run", "--micro-batch", "0", "--out", str(tmp_path / "x")])
    assert left.value.code == 2
    assert "--micro-batch: '0' is no whole number above 0" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
