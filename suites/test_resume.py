"""A training killed at any step and resumed gives the same record as an uninterrupted one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from harness.errors import BadInput
from harness.measuring.training import stateful
from harness.measuring.training.__main__ import main
from harness.measuring.training.checkpoint import newest
from harness.measuring.training.run import train
from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.measuring.training.stateful import with_state
from harness.recipe.published import REFERENCE, variant
from harness.records.context import Context
from harness.records.files import read_json, write_json

# Two products a step and eight in all: an epoch ends at step 4, a line is logged at step 5, so
# that each kill below leaves something different unfinished.
STEPS = 6


def run_in_child(spec_path: str, folder: str) -> None:
    """What the child process runs; its own name so that it can be sent there."""
    sys.exit(main([spec_path, folder]))


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes forked from one that has the libraries loaded: real kills, without the imports."""
    method = multiprocessing.get_context("forkserver")
    method.set_forkserver_preload(
        [
            "harness.measuring.training.run",
            "trl.trainer.sft_trainer",
            "peft",
            "datasets",
            "bitsandbytes",
            "transformers.models.qwen2_vl.modeling_qwen2_vl",
            "suites.test_resume",
        ]
    )
    return method


@pytest.fixture(scope="module")
def spec(context: Context) -> TrainSpec:
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    return TrainSpec(
        snapshot=str(context.snapshot),
        model=context.model,
        data="catalogue",
        recipe=REFERENCE,
        device="cpu",
        quantisation="none",
        dtype="float32",
        max_steps=STEPS,
        micro_batch=1,
        accumulation=2,
        learning_rate=5e-3,
        family="qwen2_vl",
        threads=1,
        save_every=1,
        rows=8,
    )


def start(processes: Any, spec: TrainSpec, folder: Path) -> Any:
    path = folder.with_suffix(".json")
    write_json(path, asdict(spec))
    child = processes.Process(target=run_in_child, args=(str(path), str(folder)))
    # The server's libraries begin with CUDA when they are imported.
    with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}):
        child.start()
    return child


def finish(processes: Any, spec: TrainSpec, folder: Path) -> None:
    child = start(processes, spec, folder)
    child.join(240)
    assert child.exitcode == 0


def kill_at(child: Any, folder: Path, step: int, number: int) -> int:
    """Send a signal once that step is reported; return the exit code."""
    progress = folder / "progress.json"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and child.is_alive():
        if progress.is_file() and read_json(progress)["step"] >= step:
            os.kill(child.pid, number)
            break
        time.sleep(0.002)
    child.join(60)
    return int(child.exitcode)


def evidence(folder: Path) -> dict[str, Any]:
    """Everything a run leaves for the record, times apart."""
    run = read_json(folder / "run.json")
    run.pop("seconds")
    files = ("adapter/adapter_model.safetensors", "final_logits.safetensors")
    return {"run": run, **{name: (folder / name).read_bytes() for name in files}}


@pytest.fixture(scope="module")
def uninterrupted(
    processes: Any, spec: TrainSpec, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(processes, spec, folder)
    return evidence(folder)


@pytest.mark.slow
def test_sigkill_then_resume(
    processes: Any, spec: TrainSpec, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert kill_at(start(processes, spec, folder), folder, 3, signal.SIGKILL) == -signal.SIGKILL
    assert newest(folder / "state") is not None
    assert not (folder / "run.json").exists()
    finish(processes, spec, folder)
    assert evidence(folder) == uninterrupted


@pytest.mark.slow
def test_sigint_saves_says_how_to_go_on_and_resumes(
    processes: Any, spec: TrainSpec, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    rare = replace(spec, save_every=100)  # so the state can only come from the signal
    assert kill_at(start(processes, rare, folder), folder, 2, signal.SIGINT) == 130
    saved = newest(folder / "state")
    assert saved is not None
    assert 2 <= read_json(saved / "state.json")["step"] < STEPS
    finish(processes, rare, folder)
    resumed = evidence(folder)
    for changed in (resumed["run"], dict(uninterrupted["run"])):
        assert changed.pop("spec_digest")
        changed["spec"] = {k: v for k, v in changed["spec"].items() if k != "save_every"}
    whole = {k: v for k, v in uninterrupted["run"].items() if k not in {"spec", "spec_digest"}}
    assert {k: v for k, v in resumed["run"].items() if k != "spec"} == whole
    name = "adapter/adapter_model.safetensors"
    assert resumed[name] == uninterrupted[name]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 4, 5])
def test_any_step(
    processes: Any,
    spec: TrainSpec,
    uninterrupted: dict[str, Any],
    tmp_path: Path,
    step: int,
    number: int,
) -> None:
    """Step 4 ends the first epoch, step 5 follows a logged line's boundary."""
    folder = tmp_path / "run"
    kill_at(start(processes, spec, folder), folder, step, number)
    finish(processes, spec, folder)
    assert evidence(folder) == uninterrupted


@pytest.mark.slow
def test_a_signal_in_the_last_step_trains_no_step_more(
    processes: Any, spec: TrainSpec, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """A state of the last step would be gone on from with a step too many."""
    folder = tmp_path / "run"
    kill_at(start(processes, spec, folder), folder, STEPS, signal.SIGKILL)
    saved = newest(folder / "state")
    assert saved is not None
    assert read_json(saved / "state.json")["step"] == STEPS - 1
    (folder / "run.json").unlink(missing_ok=True)  # it may have come before the signal
    finish(processes, spec, folder)
    assert evidence(folder) == uninterrupted


@pytest.mark.slow
def test_killed_again_and_again(
    processes: Any, spec: TrainSpec, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for step in (1, 2, 3, 5):
        kill_at(start(processes, spec, folder), folder, step, signal.SIGKILL)
    finish(processes, spec, folder)
    assert evidence(folder) == uninterrupted


class Loop:
    """What transformers' Trainers do with the losses that they are given, 4.45 to 5.24: a float32
    sum that begins at nothing, divided by the steps since the last line."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(global_step=0)
        self._total_loss_scalar, self._globalstep_last_logged = 0.0, 0
        self.logged: list[float] = []

    def training_step(self, model: Any, inputs: Any) -> Any:
        return inputs["loss"]

    def _maybe_log_save_evaluate(self, tr_loss: Any) -> None:
        steps = self.state.global_step - self._globalstep_last_logged
        if steps == 2:
            self.logged.append(tr_loss.item() / steps)
            tr_loss -= tr_loss

    def train(self, losses: Sequence[Sequence[float]]) -> list[float]:
        import torch

        tr_loss = torch.tensor(0.0)
        for step in losses:
            for micro in step:
                inputs = {"loss": torch.tensor(micro), "labels": torch.tensor([1])}
                tr_loss += self.training_step(None, inputs)
            self.state.global_step += 1
            self._maybe_log_save_evaluate(tr_loss)
        return self.logged


def test_the_logged_mean_is_summed_in_the_order_of_a_run_that_was_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two micro-batches a step, a line every two steps: interrupted after the first step."""
    losses = [[0.1, 0.7], [0.3, 0.2]]
    kinds = with_state(
        Loop, tmp_path, every=9, total=lambda: 2, interrupted=lambda: False, clock=lambda: 0.0
    )
    whole = kinds().train(losses)
    import torch

    first = float(torch.tensor(0.1) + torch.tensor(0.7))
    last = torch.tensor(0.3) + torch.tensor(0.2)
    assert whole != [float(first + last) / 2]  # the order decides the last bit
    resumed = kinds()
    plain = {"step": 1, "curve": [], "pending_loss": first, "logged_loss": 0.0, "logged_step": 0}
    monkeypatch.setattr(stateful, "read_state", lambda path: (plain, {}))
    monkeypatch.setattr(stateful, "restore_adapter", lambda model, tensors: None)
    resumed.model, resumed.state.global_step = None, 1
    resumed._load_from_checkpoint(tmp_path)
    assert resumed.train(losses[1:]) == whole


def test_another_spec_in_the_same_folder_is_refused(spec: TrainSpec, tmp_path: Path) -> None:
    write_json(tmp_path / "spec.json", spec_to_json(spec))
    with pytest.raises(BadInput, match="other settings"):
        train(replace(spec, learning_rate=1.0), tmp_path)


def test_another_recipe_in_the_same_folder_is_refused(spec: TrainSpec, tmp_path: Path) -> None:
    """One of the same name too: its values are what is trained."""
    write_json(tmp_path / "spec.json", spec_to_json(spec))
    louder = replace(spec.recipe, lora=replace(spec.recipe.lora, lora_alpha=32))
    for recipe in (variant("mask-prompt"), louder):
        with pytest.raises(BadInput, match="other settings"):
            train(replace(spec, recipe=recipe), tmp_path)


@pytest.mark.parametrize(("device", "seen"), [("cpu", ""), ("cuda", "0")])
def test_what_trains_on_a_cpu_sees_no_gpu(
    spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    absent = replace(spec, device=device, snapshot=str(tmp_path / "absent"))
    write_json(tmp_path / "spec.json", spec_to_json(absent))
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


@pytest.mark.slow
def test_no_pickle_is_written(uninterrupted: dict[str, Any], tmp_path_factory: Any) -> None:
    root = tmp_path_factory.getbasetemp()
    odd = [p for s in ("pt", "pth", "pkl", "bin") for p in root.glob(f"whole*/run/**/*.{s}")]
    assert not odd
