"""What an optimizer step sees and does, looked at over the shoulder of whatever steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.measuring.audit.training import Batch

# Gradients, weights and moments of so many elements are copied to the CPU at every step; of a
# larger training the first tensors that fit.
MOST_ELEMENTS = 100_000_000


@dataclass
class Micro:
    """A micro-batch as the loop was given it. count: what it was told that the whole step trains
    on, None where it was told nothing. loss: as it is logged. seconds: by phase. drawn: what its
    loader gave, which another batch was then put in the place of; empty where none was."""

    inputs: Mapping[str, Any]
    count: float | None
    loss: float = float("nan")
    seconds: dict[str, float] = field(default_factory=dict)
    drawn: Mapping[str, Any] = field(default_factory=dict)


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
    for, None where the settings say it. is_loop: whether the user's own loop took them. evaluated:
    of how many of such a loop's micro-batches the forward pass met the model in evaluation.
    batches: of such a loop one per micro-batch, with its rows. kept_own: how many of them are the
    loop's own although another stack's were given. scale: of the losses, 1 without a scaler.
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
    evaluated: int = 0
    batches: list[Batch] = field(default_factory=list)
    kept_own: int = 0
    scale: float = 1.0

    @property
    def micros(self) -> list[Micro]:
        """Of every step, in order."""
        return [micro for step in self.steps for micro in step.micros]


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
