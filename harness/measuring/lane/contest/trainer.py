"""TRL's SFTTrainer as installed, as a side: the recipe's call, its steps held back until told."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from harness.measuring.instruments.meters import synchronise
from harness.measuring.lane.contest import census
from harness.measuring.lane.contest.labels import Labels
from harness.measuring.lane.contest.side import Contestant
from harness.measuring.lane.contest.start import Spec, read_batches, same_start_
from harness.measuring.lane.shelf import Shelf
from harness.measuring.lane.workload import conversations
from harness.measuring.models import family, of_snapshot
from harness.measuring.snapshots.loading import load_processor, quantisation_mode
from harness.measuring.training.trainer import build_trainer
from harness.records.steps import Step


class _Ended(Exception):
    """The contest is over; leaves the trainer's loop."""


class Trainer(Contestant):
    """The trainer's own loop in a thread; it waits before every step and reports after it.

    Its collator hands out the contest's batches. Dropout is off, as on every side.
    """

    def __init__(self, spec: Spec) -> None:
        shelf = Shelf(spec.snapshot, spec.device, quantisation_mode(spec.device))
        self.spec, self.labels = spec, Labels()
        self.batches = read_batches(spec.folder, pinned=False)
        self.orders: queue.Queue[int | None] = queue.Queue()
        self.answers: queue.Queue[Step | BaseException] = queue.Queue()
        self.handed = 0
        model = shelf.model
        self.load_seconds = shelf.seconds
        rows = spec.micro * spec.size
        side = family(of_snapshot(spec.snapshot)).picture_side(4)
        self.folder = tempfile.TemporaryDirectory()
        built = build_trainer(
            model,
            load_processor(spec.snapshot),
            conversations([side] * rows, spec.recipe) * spec.steps,
            spec.recipe,
            Path(self.folder.name),
            max_steps=spec.steps,
            micro_batch=spec.size,
            accumulation=spec.micro,
            dropout=False,
            logging_steps=1,
            callbacks=[_callback(self)],
            log_folder=Path(self.folder.name) / "logs",
        )
        self.trainer = built.trainer
        self.trainer.data_collator = self._collate
        self.model = built.trainer.model
        self.what = "SFTTrainer as installed"
        self.start = same_start_(self.model)
        self.dtypes: dict[str, str] = {}
        self.facts = {**census.held(self.model), "notes": " ".join(built.notes)}
        self.thread = threading.Thread(target=self._train, daemon=True)
        self.thread.start()

    def _collate(self, _: object) -> dict[str, Any]:
        batch = self.batches[self.handed % len(self.batches)]
        self.handed += 1
        return dict(batch)

    def _train(self) -> None:
        try:
            self.trainer.train()
        except _Ended:
            return
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the step
            self.answers.put(error)

    def timed(self, number: int) -> Step:
        """The trainer's next step. Raises what broke it."""
        self.orders.put(number)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _callback(side: Trainer) -> Any:
    from transformers import TrainerCallback

    class Held(TrainerCallback):
        """Steps begin when ordered; the gradients are looked at before they are cleared."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            import torch

            if side.orders.get() is None:
                raise _Ended
            if not side.facts.get("begun"):
                side.facts = {**side.facts, **census.held(side.model), "begun": "yes"}
            synchronise(side.spec.device)
            if side.spec.device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats(side.spec.device)
            self.counting = side.labels.counted()
            self.counting.__enter__()
            self.began = time.perf_counter()

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            # The trainer clears gradients next; references to them are enough and cost nothing.
            side.gradients = {name: p.grad for name, p in side.trained() if p.grad is not None}

        def on_step_end(self, *_: Any, **__: Any) -> None:
            import torch

            synchronise(side.spec.device)
            self.wall = time.perf_counter() - self.began
            self.counting.__exit__(None, None, None)
            cuda = side.spec.device.startswith("cuda")
            self.peak = int(torch.cuda.max_memory_allocated(side.spec.device)) if cuda else 0

        def on_log(self, _: Any, __: Any, ___: Any, logs: Any = None, **____: Any) -> None:
            if logs and "loss" in logs and "grad_norm" in logs:
                labels = side.labels.total()
                side.answers.put(
                    Step(
                        self.wall,
                        self.wall,
                        self.peak,
                        float(logs["loss"]),
                        float(logs["grad_norm"]),
                        labels,
                    )
                )

    return Held()
