"""A few optimizer steps by the Trainer's own loop, watched from outside and undone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import BadInput
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.watching import Micro, Run, Watcher, wait
from harness.measuring.audit.training import Training


@dataclass(frozen=True)
class Asked:
    """How to run. steps: at most. dropout: as the training has it, else off. accumulation: in
    place of the training's own. clip: the same for its largest norm. still: weights are put back
    after every step, so that each micro-batch meets the same."""

    steps: int
    dropout: bool = False
    accumulation: int | None = None
    clip: float | None = None
    still: bool = False


def run(training: Training, asked: Asked) -> Run:
    """Let the training's own loop take a few steps. The same question is run once.

    Raises whatever the loop raises; BadInput where it takes no step at all.
    """
    key = f"run {asked}"
    if key not in training.memo:
        with isolated(training):
            training.memo[key] = _run(training, asked)
    result: Run = training.memo[key]
    return result


def fresh(training: Training, asked: Asked, watch: Any = None) -> Run:
    """The same, always anew. watch: a context manager of the training, open while it runs."""
    with isolated(training), watch or contextlib.nullcontext():
        return _run(training, asked)


def _run(training: Training, asked: Asked) -> Run:
    trainer, result = training.trainer, Run()
    _settle(trainer, asked)
    if not asked.dropout:
        without_dropout(training.model)
    trainer.add_callback(_stopper(asked.steps))
    first = getattr(trainer.lr_scheduler, "last_epoch", 0)
    watcher = Watcher(training.model, result, still=asked.still, scaler=lambda: _scaler(trainer))
    given = _Given(training) if training.is_handed or training.trace is not None else None
    with watcher.watching(), _micros(trainer, watcher, given):
        trainer.train()
    if not result.steps and not watcher.micros:
        raise BadInput("The training's loop ended without a single micro-batch.")
    result.optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    result.scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
    result.scheduler_steps = getattr(result.scheduler, "last_epoch", 0) - first
    scaler = _scaler(trainer)
    result.scale = float(scaler.get_scale()) if scaler else 1.0
    return result


def _settle(trainer: Any, asked: Asked) -> None:
    args = trainer.args
    args.auto_find_batch_size = False
    args.eval_on_start = False
    if asked.clip is not None:
        args.max_grad_norm = asked.clip
    if asked.accumulation is not None:
        args.gradient_accumulation_steps = asked.accumulation
        args.max_steps = asked.steps
        # Releases until 4.45 let accelerate divide and count.
        if trainer.accelerator.gradient_accumulation_steps > 1:
            trainer.accelerator.gradient_accumulation_steps = asked.accumulation


def without_dropout(model: Any) -> None:
    """Every dropout of a model at rate 0, in modules and in their own numbers; in training mode,
    since checkpointing of activations works in no other."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _stopper(steps: int) -> Any:
    import transformers

    class Stopper(transformers.TrainerCallback):
        """Ends the loop after so many steps; its schedule stays that of the whole training."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            """See the class."""
            if state.global_step >= steps:
                control.should_training_stop = True
            return control

    return Stopper()


def _scaler(trainer: Any) -> Any:
    return getattr(trainer.accelerator, "scaler", None)


class _Given:
    """Batches in the places of those that a Trainer's loop draws, and what they make it count:
    another stack's, or those that a loop without Trainer was seen to take."""

    def __init__(self, training: Training) -> None:
        self.training, self.taken = training, 0

    def __call__(self, told: Any) -> tuple[dict[str, Any], Any]:
        """The next batch, and the targets of its whole step where the loop tells any."""
        batches, accumulated = self.training.batches, self._accumulated()
        place, self.taken = self.taken % len(batches), self.taken + 1
        begin = place - place % accumulated
        step = [dict(batch.inputs) for batch in batches[begin : begin + accumulated]]
        count = getattr(self.training.trainer, "_get_num_items_in_batch", None)
        if told is not None and count is not None:
            told = count(step, batches[place].ids.device)
        return dict(batches[place].inputs), told

    def _accumulated(self) -> int:
        return int(self.training.args.gradient_accumulation_steps)


@contextlib.contextmanager
def _micros(trainer: Any, watcher: Watcher, given: _Given | None) -> Iterator[None]:
    """The user's own training_step, watched: what it is given and what it returns."""
    own = trainer.training_step

    def training_step(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        drawn: Mapping[str, Any] = {}
        if given is not None:
            drawn = dict(inputs)
            inputs, count = given(rest[0] if rest else named.get("num_items_in_batch"))
            if rest:
                rest = (count, *rest[1:])
            elif "num_items_in_batch" in named:
                named["num_items_in_batch"] = count
        told = rest[0] if rest else named.get("num_items_in_batch")
        micro = Micro(dict(inputs), None if told is None else float(told), drawn=drawn)
        started = time.perf_counter()
        with _timed(trainer, micro):
            loss = own(model, inputs, *rest, **named)
        micro.seconds["all"] = time.perf_counter() - started
        micro.loss = float(loss)
        watcher.took(micro)
        return loss

    trainer.training_step = training_step
    try:
        yield
    finally:
        trainer.training_step = own


@contextlib.contextmanager
def _timed(trainer: Any, micro: Micro) -> Iterator[None]:
    """Seconds of the backward pass, by accelerate's own call."""
    own = trainer.accelerator.backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        wait()
        started = time.perf_counter()
        try:
            return own(*args, **kwargs)
        finally:
            wait()
            micro.seconds["backward"] = time.perf_counter() - started

    trainer.accelerator.backward = backward
    try:
        yield
    finally:
        trainer.accelerator.__dict__.pop("backward", None)
