"""The first steps of a loop without Trainer, watched while its script runs, and undone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from harness.measuring.audit.steps.collated import Collated, replaced, tells_its_loss
from harness.measuring.audit.steps.isolation import Attributes, Groups
from harness.measuring.audit.steps.running import without_dropout
from harness.measuring.audit.steps.unsaved import unsaved
from harness.measuring.audit.steps.watching import Micro, Run, Watcher
from harness.measuring.audit.training import Batch


class Reached(BaseException):
    """A script has come to where it would train. Not an Exception: scripts catch those."""


class Loop:
    """A script's own loop over accelerate. steps: after so many it is ended, at the backward pass
    that follows them, so that what it does between two steps was seen too. given: another stack's
    batches, which its model then meets in place of its own; none by default."""

    def __init__(self, steps: int, given: Sequence[Mapping[str, Any]] = ()) -> None:
        self.steps, self.given = steps, given
        self.result = Run(is_loop=True)
        self.parts: dict[str, Any] = {}
        self.schedulers: list[Any] = []
        self.own: Mapping[str, Any] = {}
        self.inputs: Mapping[str, Any] = {}
        self.clip: list[float] = []
        self.unsaved: list[str] = []
        self.begun = False
        self.is_training = True
        self.undo = contextlib.ExitStack()
        self.watcher: Watcher | None = None
        self.collated: Collated | None = None

    @property
    def changed(self) -> list[str]:
        """What was put out of action in its loader and of what it saves, for people."""
        return [*(self.collated.changed if self.collated else []), *self.unsaved]

    @property
    def is_reached(self) -> bool:
        """Whether a backward pass was seen."""
        return self.begun

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While the script runs; afterwards its model, optimizer and schedule are as they were."""
        import accelerate
        import torch

        prepare, backward = accelerate.Accelerator.prepare, accelerate.Accelerator.backward
        # Whoever is ended between two steps leaves accelerate's word, which all of a process share,
        # that the next step is not to be made.
        gradients = accelerate.state.GradientState
        synchronised = bool(gradients._shared_state.get("sync_gradients", True))
        self.undo.callback(lambda: gradients()._set_sync_gradients(synchronised))
        clip, schedule = torch.nn.utils.clip_grad_norm_, torch.optim.lr_scheduler.LRScheduler

        def prepared(accelerator: Any, *objects: Any, **kwargs: Any) -> Any:
            if not self.begun:
                self._note(accelerator, objects)
            return prepare(accelerator, *objects, **kwargs)

        def passed(accelerator: Any, loss: Any, **kwargs: Any) -> Any:
            self._passed(lambda: backward(accelerator, loss, **kwargs), loss)

        def clipped(parameters: Any, max_norm: Any, *args: Any, **kwargs: Any) -> Any:
            if self.begun:
                self.clip.append(float(max_norm))
            return clip(parameters, max_norm, *args, **kwargs)

        construct = schedule.__init__

        def noted(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            construct(scheduler, *args, **kwargs)
            self.schedulers.append(scheduler)

        with (
            mock.patch.object(accelerate.Accelerator, "prepare", prepared),
            mock.patch.object(accelerate.Accelerator, "backward", passed),
            mock.patch.object(torch.nn.utils, "clip_grad_norm_", clipped),
            mock.patch.object(schedule, "__init__", noted),
            unsaved(lambda: self.begun, self.unsaved),
            self.undo,
        ):
            yield
            self._finish()

    def _note(self, accelerator: Any, objects: tuple[Any, ...]) -> None:
        """The parts that a loop hands to accelerate, by what they are; the first loader trains."""
        import torch

        self.parts["accelerator"] = accelerator
        for item in objects:
            if isinstance(item, torch.nn.Module):
                self.parts["model"] = item
            elif isinstance(item, torch.utils.data.DataLoader):
                self._load(item)
            elif isinstance(item, torch.optim.Optimizer):
                self.parts["optimizer"] = item
            elif hasattr(item, "get_last_lr"):
                self.parts["scheduler"] = item
        if "model" in self.parts and self.watcher is None:
            self._watch(self.parts["model"])

    def _load(self, loader: Any) -> None:
        """From before its first batch, so that the rows of each are known."""
        if self.collated is None:
            self.parts["loader"] = loader
            self.collated = Collated(loader)
            self.undo.callback(self.collated.put_back)

    def _watch(self, model: Any) -> None:
        """From before its first forward pass, so that what that did can be undone."""
        import torch

        for module in model.modules():
            self.undo.callback(Attributes(module).put_back)
        without_dropout(model)
        self.watcher = Watcher(model, self.result)

        def called(module: Any, args: Any, kwargs: Any) -> Any:
            self.is_training = bool(module.training)
            self.own = kwargs or (args[0] if args and isinstance(args[0], Mapping) else {})
            self.inputs = self.own
            place = len(self.result.batches)
            if not kwargs or not torch.is_grad_enabled() or place >= len(self.given):
                return None
            if not tells_its_loss(kwargs, self.given):
                return None
            self.inputs = replaced(kwargs, self.given[place])
            return args, self.inputs

        model.register_forward_pre_hook(called, with_kwargs=True)

    def _passed(self, backward: Callable[[], Any], loss: Any) -> None:
        if self.watcher is None:
            self.begun = True
            raise Reached
        if not self.begun:
            self._begin()
        if len(self.result.steps) >= self.steps:
            raise Reached
        backward()
        self.result.evaluated += not self.is_training
        batch = self._batch()
        self.result.batches.append(batch)
        self.watcher.took(Micro(batch.inputs, None, float(loss.detach())))

    def _batch(self) -> Batch:
        """What the model was last given, with the rows that its loader made it from."""
        own = self.collated.batch_of(self.own) if self.collated else Batch(dict(self.own))
        if self.inputs is not self.own:
            return replace(own, inputs=dict(self.inputs))
        self.result.kept_own += bool(self.given)
        return own

    def _begin(self) -> None:
        """The state before the first step: that is what the checks start from."""
        import torch

        self.begun = True
        assert self.watcher is not None
        optimizer = self.parts.get("optimizer")
        kept = {n: p.detach().clone() for n, p in self.watcher.named.items()}
        named = self.watcher.named

        def back() -> None:
            with torch.no_grad():
                for name, parameter in named.items():
                    parameter.copy_(kept[name])
                    parameter.grad = None

        if optimizer is not None:
            own = [s for s in self.schedulers if s.optimizer is optimizer]
            self.parts.setdefault("scheduler", own[-1] if own else None)
        scheduler = self.parts.get("scheduler")
        self.undo.callback(back)
        self.undo.callback(Groups(optimizer).put_back)
        for part in (optimizer, scheduler):
            if part is not None:
                self.undo.callback(Attributes(part).put_back)
        self.result.scheduler, self.result.optimizer = scheduler, optimizer
        self.first = getattr(scheduler, "last_epoch", 0)
        self.undo.enter_context(self.watcher.watching())

    def _finish(self) -> None:
        """What is known when the script was ended or has ended."""
        if not self.begun:
            return
        scheduler = self.result.scheduler
        self.result.scheduler_steps = getattr(scheduler, "last_epoch", 0) - getattr(
            self, "first", 0
        )
        self.result.clip = self.clip[-1] if self.clip else 0.0
