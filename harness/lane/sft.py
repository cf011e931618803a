"""Steps of the recipe through TRL's SFTTrainer, timed from inside."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.lane.workload import conversations, side_for, text_tokens
from harness.measure import synchronise
from harness.models import family
from harness.recipe import REFERENCE
from harness.trainer import build_trainer

if TYPE_CHECKING:
    from harness.lane.bench import Lane


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


def trainer_seconds(
    lane: Lane, data: Sequence[dict[str, Any]] | None, steps: int, tokens: int = 0
) -> tuple[list[float], tuple[str, ...]]:
    """Wall seconds of each optimizer step, and how the call differs from the recipe's.

    data: batches that the collator hands out in order; None lets the recipe's collator work on
    pictures for about `tokens` tokens.
    """
    processor = family("qwen2_vl").load_processor(lane.snapshot)
    model = lane.shelf.copy()
    rows = conversations(
        lane.micro * lane.size * lane.sets,
        56
        if data is not None
        else side_for(max(4, tokens - text_tokens(lane.snapshot, lane.size))),
    )
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        built = build_trainer(
            model, processor, rows, REFERENCE, Path(folder), max_steps=steps,
            micro_batch=lane.size, accumulation=lane.micro,
            callbacks=[_stopwatch(lane.device, seconds)], log_folder=Path(folder) / "logs",
        )  # fmt: skip
        if data is not None:
            built.trainer.data_collator = _Handed(data)
        built.trainer.train()
    return seconds, built.notes


class _Handed:
    """A collator that ignores its rows and hands out finished batches in turn."""

    def __init__(self, data: Sequence[dict[str, Any]]) -> None:
        self.data = [{k: v.cpu() for k, v in batch.items()} for batch in data]
        self.number = 0

    def __call__(self, _: object) -> dict[str, Any]:
        batch = self.data[self.number % len(self.data)]
        self.number += 1
        return dict(batch)
