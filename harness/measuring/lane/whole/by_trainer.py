"""SFTTrainer as installed from a cold start: load, as many steps as asked, the adapter."""

from __future__ import annotations

from typing import Any

from harness.measuring.instruments.meters import synchronise
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.whole.clock import Clock, WholeSpec
from harness.measuring.lane.whole.rows import PADDING
from harness.measuring.snapshots.loading import load_processor, quantisation_mode
from harness.measuring.training.trainer import build_trainer


def train(spec: WholeSpec, rows: list[Any], clock: Clock) -> None:
    """Into the clock: every phase and step, its own collation inside, as the recipe calls it."""
    shelf = Shelf(spec.snapshot, spec.device, quantisation_mode(spec.device))
    model = shelf.model
    clock.phase("model loaded")
    trainer = build_trainer(
        model,
        load_processor(spec.snapshot, padding_side=PADDING),
        rows,
        spec.recipe,
        spec.folder / "trainer",
        max_steps=spec.steps or -1,
        dropout=False,
        logging_steps=1,
        callbacks=[_stopwatch(spec, clock)],
        log_folder=spec.folder / "logs",
    ).trainer
    clock.phase("trainer built")
    clock.begin()
    trainer.train()
    clock.phase("steps ended")
    trainer.save_model(str(spec.folder / "adapter"))
    clock.phase("adapter saved")


def _stopwatch(spec: WholeSpec, clock: Clock) -> Any:
    from transformers import TrainerCallback

    training = spec.recipe.training
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps

    class Stopwatch(TrainerCallback):
        """A step ends where the trainer says so; its loss comes with the log after it."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronise(spec.device)
            clock.step(0, rows, None, None)
            clock.begin()

        def on_log(self, _: Any, __: Any, ___: Any, logs: Any = None, **____: Any) -> None:
            if logs and "loss" in logs and clock.steps:
                clock.amend(float(logs["loss"]), float(logs["grad_norm"]))

    return Stopwatch()
