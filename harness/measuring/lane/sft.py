"""Steps of the recipe through TRL's SFTTrainer, timed from inside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.measuring.instruments.meters import cuda_memory, reset_cuda_memory, synchronise
from harness.measuring.lane.step import trained_tensors
from harness.measuring.lane.workload import conversations, sides_for
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.training.trainer import build_trainer

if TYPE_CHECKING:
    from harness.measuring.lane.bench import Lane


def _stopwatch(device: str, seconds: list[float]) -> Any:
    """A callback that notes the wall time between the ends of optimizer steps."""
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):
        last = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            synchronise(device)
            self.last = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronise(device)
            now = time.perf_counter()
            seconds.append(now - self.last)
            self.last = now

    return Stopwatch()


@dataclass(frozen=True)
class Trained:
    """seconds: wall time of each optimizer step. losses: of each, as the trainer logs them.
    peak: bytes allocated at most while training, the kept model left out (0 on a CPU). adapter:
    LoRA's tensors after the last step. notes: how the call differs from the recipe's."""

    seconds: list[float]
    losses: list[float]
    peak: int
    adapter: dict[str, Any]
    notes: tuple[str, ...]


def through_sft(
    lane: Lane,
    steps: int,
    *,
    data: Sequence[dict[str, Any]] | None = None,
    tokens: int = 0,
    processor: Any = None,
    workers: int = 0,
    dropout: bool = True,
) -> Trained:
    """Train `steps` optimizer steps with SFTTrainer on a copy of the kept model.

    data: batches that the collator hands out in order; None lets the recipe's collator work on
    pictures for about `tokens` tokens, no sample twice. processor: None is the library's own.
    workers: processes that collate.
    """
    count = steps * lane.micro * lane.size
    if data is None:
        sides = sides_for(lane.snapshot, tokens, count, size=lane.size, recipe=lane.recipe)
    else:
        sides = [lane.family.picture_side(4)] * count
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        built = build_trainer(
            lane.shelf.copy(),
            processor or load_processor(lane.snapshot),
            conversations(sides, lane.recipe),
            lane.recipe,
            Path(folder),
            max_steps=steps,
            micro_batch=lane.size,
            accumulation=lane.micro,
            dropout=dropout,
            logging_steps=1,
            dataloader_num_workers=workers,
            callbacks=[_stopwatch(lane.device, seconds)],
            log_folder=Path(folder) / "logs",
        )
        if data is not None:
            built.trainer.data_collator = _Handed(data)
        reset_cuda_memory(lane.device)
        built.trainer.train()
        on_cuda = lane.device.startswith("cuda")
        peak = cuda_memory(lane.device).allocated - lane.shelf.kept_bytes if on_cuda else 0
    losses = [float(e["loss"]) for e in built.trainer.state.log_history if "loss" in e]
    return Trained(seconds, losses, peak, trained_tensors(built.trainer.model), built.notes)


class _Handed:
    """A collator that ignores its rows and hands out finished batches in turn."""

    def __init__(self, data: Sequence[dict[str, Any]]) -> None:
        self.data = [{k: v.cpu() for k, v in batch.items()} for batch in data]
        self.number = 0

    def __call__(self, _: object) -> dict[str, Any]:
        batch = self.data[self.number % len(self.data)]
        self.number += 1
        return dict(batch)
