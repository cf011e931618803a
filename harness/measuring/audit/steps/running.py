"""A few optimizer steps by the Trainer's own loop, watched from outside and undone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import BadInput
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.training import Training

# Gradients, weights and moments of so many elements are copied to the CPU at every step; of a
# larger training the first tensors that fit.
MOST_ELEMENTS = 100_000_000


@dataclass
class Micro:
    """A micro-batch as the loop was given it. count: what it was told that the whole step trains
    on, None where it was told nothing. loss: as it is logged. seconds: by phase."""

    inputs: Mapping[str, Any]
    count: float | None
    loss: float = float("nan")
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Step:
    """One optimizer step.

    micros: what it was accumulated from. groups: the optimizer's settings as the step used them,
    by group. raw, used: gradients as accumulated and as the optimizer used them, float32 or as
    they are, by name; None where there was none. raw_norm, used_norm: their total 2-norms over all
    trainable tensors, in float64. before, after: weights.
    """

    micros: list[Micro]
    groups: list[dict[str, Any]]
    raw: dict[str, Any]
    used: dict[str, Any]
    raw_norm: float
    used_norm: float
    before: dict[str, Any]
    after: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Run:
    """What a few steps did.

    state: dtypes of the optimizer's own tensors after them, by parameter and name; state_bytes: of
    all of them. members: names of the parameters in each of its groups, '' for a stranger's;
    strangers: parameters in it that are no trainable one of the model. scheduler: None where there
    was none. scheduler_steps: how often it was stepped. clip: the largest norm that a loop asked
    for, None where the settings say it. is_loop: whether the user's own loop took them. scale: of
    the losses, 1 without a scaler.
    """

    steps: list[Step] = field(default_factory=list)
    optimizer: Any = None
    scheduler: Any = None
    scheduler_steps: int = 0
    members: list[list[str]] = field(default_factory=list)
    strangers: int = 0
    state: dict[str, dict[str, str]] = field(default_factory=dict)
    state_bytes: int = 0
    clip: float | None = None
    is_loop: bool = False
    scale: float = 1.0

    @property
    def micros(self) -> list[Micro]:
        """Of every step, in order."""
        return [micro for step in self.steps for micro in step.micros]


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
    with watcher.watching(), _micros(trainer, watcher):
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

    class Stopper(transformers.TrainerCallback):  # type: ignore[misc]
        """Ends the loop after so many steps; its schedule stays that of the whole training."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            """See the class."""
            if state.global_step >= steps:
                control.should_training_stop = True
            return control

    return Stopper()


def _scaler(trainer: Any) -> Any:
    return getattr(trainer.accelerator, "scaler", None)


@contextlib.contextmanager
def _micros(trainer: Any, watcher: Watcher) -> Iterator[None]:
    """The user's own training_step, watched: what it is given and what it returns."""
    own = trainer.training_step

    def training_step(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        told = rest[0] if rest else named.get("num_items_in_batch")
        micro = Micro(dict(inputs), None if told is None else float(told))
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


def wait() -> None:
    """Until a GPU has done what it was given, so that a clock tells what was done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Watcher:
    """Looks over the shoulder of whatever optimizer trains the model, by torch's global hooks."""

    def __init__(self, model: Any, result: Run, *, still: bool = False, scaler: Any = None) -> None:
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.names = {id(p): n for n, p in self.named.items()}
        self.copied = list(_fitting(self.named))
        self.result, self.still, self.scaler = result, still, scaler or (lambda: None)
        self.micros: list[Micro] = []
        self.raw: dict[str, Any] = {}
        self.raw_norm = 0.0
        self.depth = 0
        self.started = 0.0

    def took(self, micro: Micro) -> None:
        """A micro-batch is accumulated."""
        self.micros.append(micro)
        self.raw, self.raw_norm = self._gradients(), self._norm()
        scaler = self.scaler()
        if scaler is not None and scaler.is_enabled():
            scale = float(scaler.get_scale())
            self.raw = {n: None if g is None else g / scale for n, g in self.raw.items()}
            self.raw_norm /= scale

    def _gradients(self) -> dict[str, Any]:
        return {n: _kept(self.named[n].grad) for n in self.copied}

    def _norm(self) -> float:
        squares = [
            float(p.grad.double().square().sum()) for p in self.named.values() if p.grad is not None
        ]
        return float(sum(squares) ** 0.5)

    def _weights(self) -> dict[str, Any]:
        return {n: _kept(self.named[n]) for n in self.copied}

    def is_ours(self, optimizer: Any) -> bool:
        """Whether it trains this model."""
        return any(id(p) in self.names for g in optimizer.param_groups for p in g["params"])

    def before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """The step's settings, gradients and weights; of nested steps the outermost."""
        if not self.is_ours(optimizer):
            return
        self.depth += 1
        if self.depth > 1:
            return
        settings = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        if self.still:
            for group in optimizer.param_groups:
                group["lr"] = 0.0
        used, used_norm = self._gradients(), self._norm()
        step = Step(
            self.micros,
            settings,
            self.raw or used,
            used,
            self.raw_norm if self.micros else used_norm,
            used_norm,
            self._weights(),
        )
        self.micros, self.raw = [], {}
        self.result.steps.append(step)
        wait()
        self.started = time.perf_counter()

    def after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """What it made of them."""
        if not self.is_ours(optimizer):
            return
        self.depth -= 1
        if self.depth:
            return
        wait()
        step = self.result.steps[-1]
        step.seconds = time.perf_counter() - self.started
        step.after = self._weights()
        self._state(optimizer)
        if self.still:
            self._back(step)

    def _state(self, optimizer: Any) -> None:
        groups = [group["params"] for group in optimizer.param_groups]
        self.result.members = [
            [self.names.get(id(p), "") for p in parameters] for parameters in groups
        ]
        self.result.strangers = sum(
            id(p) not in self.names for parameters in groups for p in parameters
        )
        self.result.state = {
            name: {k: str(v.dtype) for k, v in optimizer.state[p].items() if hasattr(v, "dtype")}
            for name, p in self.named.items()
            if p in optimizer.state
        }
        self.result.state_bytes = sum(
            v.numel() * v.element_size()
            for p in self.named.values()
            if p in optimizer.state
            for v in optimizer.state[p].values()
            if hasattr(v, "element_size")
        )

    def _back(self, step: Step) -> None:
        import torch

        with torch.no_grad():
            for name, weight in step.before.items():
                self.named[name].copy_(weight)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts."""
        from torch.optim import optimizer as torch_optimizer

        handles = [
            torch_optimizer.register_optimizer_step_pre_hook(self.before),
            torch_optimizer.register_optimizer_step_post_hook(self.after),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _kept(tensor: Any) -> Any:
    """A copy on the CPU; None of none."""
    return None if tensor is None else tensor.detach().cpu().clone()


def _fitting(named: Mapping[str, Any]) -> Iterator[str]:
    total = 0
    for name, parameter in named.items():
        total += int(parameter.numel())
        if total > MOST_ELEMENTS:
            return
        yield name
