"""Rung 11, the trainer's own checkpoint: what it holds, and a training that goes on from it.

The harness keeps its runs' state by itself (training/checkpoint.py), for a pickle runs what it
holds. This one is read in the moment after it was written, and removed.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.samples import conversations
from harness.errors import Lack
from harness.measuring.instruments import precision
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._merged import too_large
from harness.measuring.snapshots import loading
from harness.measuring.training.checkpoint import trainable
from harness.measuring.training.trainer import build_trainer
from harness.records.context import Context
from harness.records.files import read_json
from harness.records.typed import Json

CHECKPOINT = ("checkpoint_optimizer", "checkpoint_scheduler", "checkpoint_log")
RESUMED = ("resumed_gap", "resumed_loss_gap", "resumed_rates", "resumed_steps", "resumed_log")
METRICS = (*CHECKPOINT, *RESUMED)
# Three rows, one a step: it is saved after the first step of the second epoch, and two are left.
ROWS, SAVED, STEPS = 3, 4, 6


@dataclass
class Run:
    """What one training showed. rates: of its optimizer, by the number of steps taken before.
    weights: of the adapter, by that number too, before the step; the last after it. off: by
    metric of CHECKPOINT what the checkpoint has otherwise than memory. log: steps and losses."""

    rates: dict[int, float] = field(default_factory=dict)
    weights: dict[int, dict[str, Any]] = field(default_factory=dict)
    off: dict[str, list[str]] = field(default_factory=dict)
    log: list[tuple[int, float]] = field(default_factory=list)


def record_resumed(recorder: Recorder, context: Context) -> None:
    """A short training that saves itself once, and one that goes on from there."""
    if reason := too_large(context.snapshot):
        for name in METRICS:
            recorder.not_run(name, reason, Lack.SCALE)
        return
    folder = context.work("trajectory") / "resumed"
    shutil.rmtree(folder, ignore_errors=True)
    whole, _ = recorder.attempt(CHECKPOINT[0], lambda: trained(context, folder / "whole", None))
    if whole is None:
        shutil.rmtree(folder, ignore_errors=True)
        for name in METRICS[1:]:
            recorder.blocked(name, f"trajectory.{CHECKPOINT[0]}")
        return
    for name in CHECKPOINT:
        # Of a trainer that saved nothing.
        off: list[Json] = [*whole.off.get(name, ["all of it"])]
        recorder.add(name, off, unit="names", note="otherwise in the checkpoint than in memory")
    saved = folder / "whole" / f"checkpoint-{SAVED}"
    again, _ = recorder.attempt(RESUMED[0], lambda: trained(context, folder / "again", saved))
    shutil.rmtree(folder)
    if again is None:
        for name in RESUMED[1:]:
            recorder.blocked(name, f"trajectory.{RESUMED[0]}")
        return
    _record_again(recorder, whole, again)


def _record_again(recorder: Recorder, whole: Run, again: Run) -> None:
    note = "adapter of the resumed training against the uninterrupted one's, over what they moved"
    gap, _ = recorder.attempt(RESUMED[0], lambda: weight_gap(whole, again))
    if gap is not None:
        recorder.add(RESUMED[0], gap, note=note)
    losses, more = dict(whole.log), dict(again.log)
    gaps = [abs(losses[step] - more[step]) for step in losses.keys() & more.keys() if step > SAVED]
    recorder.add(RESUMED[1], max(gaps, default=max(losses.values(), default=1.0)), unit="nats")
    later = [abs(whole.rates[n] - rate) for n, rate in again.rates.items() if n in whole.rates]
    rates = max(later, default=1.0) / (max(whole.rates.values(), default=0.0) or 1.0)
    note = "largest distance of two steps' learning rates, over the largest rate"
    recorder.add(RESUMED[2], rates, note=note)
    steps: list[Json] = [*sorted(again.rates)]
    recorder.add(RESUMED[3], steps, unit="steps", note="that were taken before each of its steps")
    logged: list[Json] = [step for step, _ in again.log]
    recorder.add(RESUMED[4], logged, unit="steps", note="in its log")


def weight_gap(whole: Run, again: Run) -> float:
    """‖resumed − uninterrupted‖ of all adapters together, over ‖moved since the checkpoint‖."""
    start, end = whole.weights[SAVED], whole.weights[STEPS]
    last = again.weights[max(again.weights)]
    off = sum(float((last[name] - end[name]).norm() ** 2) for name in end)
    moved = sum(float((end[name] - start[name]).norm() ** 2) for name in end)
    return float((off / moved) ** 0.5)


def trained(context: Context, folder: Path, checkpoint: Path | None) -> Run:
    """With dropout, so that what is drawn is gone on with too, and a rate that changes."""
    exact: dict[str, Any] = (
        {"bf16": False, "tf32": False} if context.device.startswith("cuda") else {}
    )
    seen = Run()
    watching = _watching(seen)
    # Its arguments set the arithmetic of the process, which trains on in the recipe's afterwards.
    with precision.exact():
        trainer = build_trainer(
            loading.load_model(context.snapshot, device=context.device, dtype="float32"),
            loading.load_processor(context.snapshot, padding_side="right"),
            conversations(context, context.recipe, ROWS),
            context.recipe,
            folder,
            max_steps=STEPS,
            micro_batch=1,
            accumulation=1,
            seed=context.seed,
            callbacks=[watching],
            logging_steps=1,
            report_to="none",
            lr_scheduler_type="linear",
            save_strategy="steps",
            save_steps=SAVED,
            **exact,
        ).trainer
        watching.trainer = trainer
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seen.weights[int(trainer.state.global_step)] = _weights(trainer.model)
    history = trainer.state.log_history
    seen.log += [(int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry]
    del trainer, watching.trainer
    gc.collect()
    return seen


def _weights(model: Any) -> dict[str, Any]:
    return {name: p.detach().cpu().double().clone() for name, p in trainable(model).items()}


def _watching(seen: Run) -> Any:
    """A callback of transformers' Trainer that fills `seen`. It is told its trainer, for some
    releases hand no optimizer to callbacks (4.49)."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        """Looks before every step, and at the checkpoint when it was written."""

        trainer: Any

        def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            taken = int(state.global_step)
            seen.rates[taken] = float(self.trainer.optimizer.param_groups[0]["lr"])
            seen.weights[taken] = _weights(self.trainer.model)

        def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step == SAVED and not seen.off:
                folder = Path(args.output_dir) / f"checkpoint-{SAVED}"
                seen.off |= _off(folder, self.trainer)

    return Watching()


def _off(folder: Path, trainer: Any) -> dict[str, list[str]]:
    """By metric of CHECKPOINT the names of what the files hold otherwise than memory."""
    import torch

    def read(name: str) -> Any:
        return torch.load(folder / name, map_location="cpu", weights_only=True)

    kept, log = read("optimizer.pt"), read_json(folder / "trainer_state.json")
    state, optimizer = trainer.state, trainer.optimizer
    memory = getattr(optimizer, "optimizer", optimizer).state_dict()
    here = {"log_history": state.log_history, "global_step": state.global_step}
    here |= {"epoch": state.epoch, "max_steps": state.max_steps}
    return dict(
        zip(
            CHECKPOINT,
            (
                [*differing(kept, memory)],
                [*differing(read("scheduler.pt"), trainer.lr_scheduler.state_dict())],
                [*differing({name: log.get(name) for name in here}, here)],
            ),
            strict=True,
        )
    )


def differing(one: Any, other: Any, path: str = "") -> list[str]:
    """Paths at which two values of dicts, lists, tensors and plain values differ."""
    import torch

    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other.detach().cpu())
        return [] if same else [path]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [] if one == other else [path]
    names = [*one, *(name for name in other if name not in one)]
    return [
        place
        for name in names
        for place in (
            differing(one[name], other[name], f"{path}.{name}".lstrip("."))
            if name in one and name in other
            else [f"{path}.{name}".lstrip(".")]
        )
    ]
