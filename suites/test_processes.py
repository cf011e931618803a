"""Two processes train what one trains: the same micro-batches, losses, gradients, adapter."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.data.dataset import load_rows
from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.lane.killed import ranks_of
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.processes import Crew, here
from harness.measuring.training.run import put_on
from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.measuring.training.trainer import build_trainer
from harness.recipe.published import REFERENCE, training_messages
from harness.records.files import json_digest, read_json, write_json
from suites.two_processes import ROOT, environment, launched, launcher

LACK = _compat.lacks_sharded_four_bit()

STEPS, ACCUMULATION = 3, 4
# Both sides are float32 and add the same micro-batches in another order. Found on both stacks: loss
# 5e-8, gradients 1e-7 of the largest in the first step and 4e-6 in the third, weights 2e-6. One
# micro-batch too many or twice would be a tenth; a step of Adam moves a weight by 2e-3.
LOSS_BAND, GRADIENT_BAND, WEIGHT_BAND = 1e-6, 5e-5, 2e-5


@pytest.fixture(scope="module")
def spec() -> TrainSpec:
    return TrainSpec(
        snapshot=str(STAND_IN),
        model="stand-in",
        data="catalogue",
        recipe=REFERENCE,
        device="cpu",
        quantisation="none",
        dtype="float32",
        max_steps=STEPS,
        micro_batch=2,
        accumulation=ACCUMULATION,
        learning_rate=2e-3,
        family="qwen2_vl",
        threads=1,
        rows=2 * ACCUMULATION * STEPS,
        dropout=False,
    )


@pytest.fixture(scope="module")
def both(spec: TrainSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    place = tmp_path_factory.mktemp("processes")
    for count in (1, 2):
        done = launched(count, spec, place / str(count))
        assert done.returncode == 0, done.stderr[-4000:]
    return {count: place / str(count) for count in (1, 2)}


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(both: dict[int, Path]) -> None:
    one, two = (read_json(both[n] / "run" / "run.json") for n in (1, 2))
    assert len(one["curve"]) == STEPS
    for mine, theirs in zip(one["curve"], two["curve"], strict=True):
        assert theirs["targets"] == mine["targets"]
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=LOSS_BAND)
    assert "Trained by 2 processes, data parallel." in two["notes"]
    assert one["spec_digest"] == two["spec_digest"]
    assert two["frozen_before"] == two["frozen_after"]


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS))
def test_two_processes_have_the_gradients_of_one(step: int, both: dict[int, Path]) -> None:
    single = load_file(str(both[1] / "gradients" / f"{step}-0.safetensors"))
    first, second = (
        load_file(str(both[2] / "gradients" / f"{step}-{rank}.safetensors")) for rank in (0, 1)
    )
    assert first.keys() == second.keys() == single.keys()
    for name, wanted in single.items():
        # peft's B is zero at first, and A's gradient with it.
        largest = float(wanted.abs().max())
        assert (largest > 0) is (step > 0 or "lora_B" in name), name
        assert torch.equal(first[name], second[name]), name
        assert (first[name] - wanted).abs().max() <= GRADIENT_BAND * largest, name


@pytest.mark.slow
def test_two_processes_end_with_the_adapter_of_one(both: dict[int, Path]) -> None:
    one, two = (
        load_file(str(both[n] / "run" / "adapter" / "adapter_model.safetensors")) for n in (1, 2)
    )
    assert one.keys() == two.keys()
    for name, mine in one.items():
        assert mine.abs().max() > 0, name
        assert (two[name] - mine).abs().max() <= WEIGHT_BAND, name


@pytest.mark.slow
def test_only_the_first_process_writes(both: dict[int, Path]) -> None:
    names = {p.name for p in (both[2] / "run").iterdir()}
    assert {"run.json", "spec.json", "adapter", "progress.json"} <= names
    assert names == {p.name for p in (both[1] / "run").iterdir()}


@pytest.mark.slow
def test_what_cannot_be_shared_is_one_sentence(spec: TrainSpec, tmp_path: Path) -> None:
    done = launched(2, replace(spec, accumulation=3), tmp_path / "odd")
    assert done.returncode != 0
    # One process or both get to say it before the launcher ends them.
    errors = {line for line in done.stderr.splitlines() if line.startswith("error: ")}
    assert errors == {
        "error: 3 micro-batches a step cannot be shared by 2 processes; take a number of "
        "processes that divides 3."
    }
    assert not (tmp_path / "odd" / "run").exists()


def test_the_crew_is_what_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert here() == Crew(0, 1, 0)
    assert here().is_alone
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert here() == Crew(3, 4, 1)
    assert not here().is_first


def test_a_share_keeps_the_whole_batch(spec: TrainSpec) -> None:
    crew = Crew(1, 4, 1)
    mine = crew.part(replace(spec, device="cuda", accumulation=8))
    assert (mine.accumulation, mine.micro_batch, mine.device) == (2, 2, "cuda:1")
    assert Crew().part(spec) is spec
    assert Crew().together(1.5, 7) == (1.5, 7)
    with pytest.raises(BadInput, match="8 micro-batches a step cannot be shared by 3"):
        Crew(0, 3, 0).part(replace(spec, accumulation=8))


def test_one_process_that_sees_two_cards_keeps_its_micro_batch(
    spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers multiplies it by the cards that one process sees; the model is on one."""
    import trl

    class Seeing(trl.SFTConfig):  # type: ignore[misc]
        def __post_init__(self) -> None:
            super().__post_init__()
            if self.n_gpu < 2:  # which sets it up
                self._n_gpu = 2

    plain = Seeing(str(tmp_path), per_device_train_batch_size=3, use_cpu=True, bf16=False)
    assert plain.train_batch_size == 6
    monkeypatch.setattr(trl, "SFTConfig", Seeing)
    snapshot = Path(spec.snapshot)
    rows = [training_messages(row) for row in load_rows(spec.data, "train", limit=4)]
    built = build_trainer(
        load_model(snapshot),
        load_processor(snapshot),
        rows,
        REFERENCE,
        tmp_path / "trainer",
        max_steps=1,
        micro_batch=3,
        log_folder=tmp_path / "logs",
    )
    assert built.trainer.args.train_batch_size == 3


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--multi_gpu", *([] if LACK else ["--use_fsdp"])])
def test_a_killed_process_ends_all_with_a_sentence_and_any_number_goes_on(
    flag: str, spec: TrainSpec, both: dict[int, Path], tmp_path: Path
) -> None:
    """The second of two is killed after the first state; one process and two go on from it."""
    saving = replace(spec, save_every=1)
    write_json(tmp_path / "spec.json", spec_to_json(saving))
    began = begun(2, tmp_path, flag)
    ranks = wait_for_state(began, tmp_path / "run" / "state" / "latest.json")
    os.kill(ranks[1], signal.SIGKILL)
    killed = time.monotonic()
    _, output = began.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert began.returncode != 0
    told = [line for line in output.splitlines() if line.startswith("error: The launcher ended")]
    left = read_json(tmp_path / "run" / "state" / "latest.json")["folder"]
    assert told == [
        "error: The launcher ended this process, as it does when another one of the training has "
        f"ended; the same command goes on from {tmp_path / 'run' / 'state' / left}."
    ]
    assert left != f"step-{STEPS:06d}"
    wanted = read_json(both[1] / "run" / "run.json")["curve"]
    for count in (1, 2):
        again = tmp_path / f"again-{count}"
        shutil.copytree(tmp_path / "run", again / "run")
        shutil.copy(tmp_path / "spec.json", again)
        other = begun(count, again, flag)
        _, output = other.communicate(timeout=300)
        assert other.returncode == 0, output[-4000:]
        curve = read_json(again / "run" / "run.json")["curve"]
        assert [entry["targets"] for entry in curve] == [entry["targets"] for entry in wanted]
        for mine, theirs in zip(wanted, curve, strict=True):
            assert theirs["loss"] == pytest.approx(mine["loss"], rel=LOSS_BAND), count
        one, two = (
            load_file(str(folder / "run" / "adapter" / "adapter_model.safetensors"))
            for folder in (both[1], again)
        )
        assert all((two[name] - mine).abs().max() <= WEIGHT_BAND for name, mine in one.items())


def begun(count: int, folder: Path, flag: str) -> subprocess.Popen[str]:
    """`harness train`, alone or by accelerate's launcher, as a user begins it."""
    words = ["-m", "harness", "train", str(folder / "spec.json"), str(folder / "run")]
    return subprocess.Popen(
        [sys.executable, *(launcher(count, flag) if count > 1 else []), *words],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if count == 1 else subprocess.PIPE,
        text=True,
    )


def wait_for_state(began: subprocess.Popen[str], pointer: Path) -> dict[int, int]:
    """Process numbers by rank, as soon as a state is whole."""
    end = time.monotonic() + 240
    while not pointer.is_file():
        assert began.poll() is None, began.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    return ranks_of(began.pid)


@pytest.mark.slow
def test_several_processes_train_under_a_way(
    spec: TrainSpec, both: dict[int, Path], tmp_path: Path
) -> None:
    under = replace(spec, way="fastest_first_epoch")
    assert under.digest != spec.digest
    done = launched(2, under, tmp_path / "way")
    assert done.returncode == 0, done.stderr[-4000:]
    run, wanted = (read_json(f / "run" / "run.json") for f in (tmp_path / "way", both[1]))
    for mine, theirs in zip(wanted["curve"], run["curve"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=LOSS_BAND)
    assert {change["part"] for change in run["way"]["changes"]} >= {"tower", "checkpointing"}
    assert "way" not in wanted
    assert run["frozen_before"] == run["frozen_after"] == wanted["frozen_before"]


def test_a_process_alone_leaves_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec that is refused is refused before two seconds of imports."""
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it raises
    here().leave()


def test_shares_of_a_model_stay_packed() -> None:
    with pytest.raises(NotRunnable, match="fastest unpacks 4-bit weights, and shares of a model"):
        put_on(None, "fastest", Crew(0, 2, 0, shares=True))


def test_the_digest_of_a_run_with_dropout_is_what_it_was(spec: TrainSpec) -> None:
    off, on = spec, replace(spec, dropout=True)
    assert off.digest != on.digest
    unused = {"dropout", "way", "columns", "splits", "padding"}
    assert on.digest == json_digest({k: v for k, v in asdict(on).items() if k not in unused})
