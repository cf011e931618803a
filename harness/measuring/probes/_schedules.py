"""Rung 10, learning rates step by step under the recipe's schedule and six that others use."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.measuring import _compat
from harness.measuring.instruments.recorder import Recorder
from harness.records.context import Context
from harness.records.typed import Json

METRIC = "schedule"
NAMES = (
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
)
# A fifth of twelve steps is no whole number of them: how it is rounded shows.
STEPS, WARMUP = 12, 0.2


def record_schedules(recorder: Recorder, context: Context) -> None:
    """Of a Trainer by its arguments alone."""
    for name in NAMES:
        rates, _ = recorder.attempt(METRIC, partial(rates_of, name, context), case=name)
        if rates is not None:
            shares: list[Json] = [*rates]
            recorder.add(METRIC, shares, case=name, unit="learning rate")


def rates_of(name: str, context: Context) -> list[float]:
    """The rate of each step's optimizer, of a whole rate of 1."""
    import torch
    from transformers import Trainer
    from trl import SFTConfig

    wanted: dict[str, Any] = {
        "lr_scheduler_type": name,
        "warmup_ratio": WARMUP,
        "learning_rate": 1.0,
        "max_steps": STEPS,
        "use_cpu": not context.device.startswith("cuda"),
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
    }
    arguments, _ = _compat.sft_arguments(SFTConfig, wanted)
    config = SFTConfig(output_dir=str(context.work("update") / "schedules"), **arguments)
    _compat.one_card(config)
    trainer = Trainer(model=torch.nn.Linear(1, 1), args=config)
    trainer.create_optimizer_and_scheduler(num_training_steps=STEPS)
    optimizer, schedule = trainer.optimizer, trainer.lr_scheduler
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates
