"""Everything that a few steps of training leave behind in a process, taken back.

`Training.restored` gives back weights, gradients, torch's random state and modes. A Trainer's own
loop also leaves hooks and wrapped forwards on modules, an optimizer and a scheduler on itself,
state in those that the user made, and moved random states of python, numpy and the user's own
generators.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

from harness.measuring.audit.steps.generators import State, generators_of
from harness.measuring.audit.training import Training


@contextlib.contextmanager
def isolated(training: Training) -> Iterator[None]:
    """What is done inside by the training's own loop is undone afterwards, whatever it raises.

    Inside, random states are those of a process whose Trainer was just built: its seed, and the
    user's own generators as they were when the file was opened.
    """
    import numpy
    import transformers

    trainer = training.trainer
    python, numbers = random.getstate(), numpy.random.get_state()
    own = [State(generator) for generator in generators_of(training)]
    user = [Attributes(part) for part in (trainer.optimizer, trainer.lr_scheduler) if part]
    groups = Groups(trainer.optimizer)
    kept = [Attributes(part) for part in (trainer, trainer.args, trainer.callback_handler)]
    accelerator = Attributes(trainer.accelerator)
    modules = [Attributes(module) for module in training.model.modules()]
    flags = [(p, p.requires_grad) for p in training.model.parameters()]
    with training.restored():
        transformers.set_seed(int(trainer.args.seed))
        try:
            yield
        finally:
            for part in (*modules, *kept, accelerator, *user):
                part.put_back()
            groups.put_back()
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            for state in own:
                state.put_back()
            random.setstate(python)
            numpy.random.set_state(numbers)


class Attributes:
    """An object's attributes, and what its dicts, lists and sets hold; tensors are not copied."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.values = dict(vars(owner))
        self.contents = {
            name: _copy(value)
            for name, value in self.values.items()
            if isinstance(value, dict | list | set)
        }

    def put_back(self) -> None:
        """As it was; a container stays the object that it is, since hooks' handles refer to it."""
        own = vars(self.owner)
        own.clear()
        own.update(self.values)
        for name, content in self.contents.items():
            container = own[name]
            if isinstance(container, list):
                container[:] = content
            else:
                container.clear()
                container.update(content)


def _copy(container: Any) -> Any:
    return (
        list(container)
        if isinstance(container, list)
        else type(container)(container)
        if (type(container) in {dict, set})
        else container.copy()
    )


class Groups:
    """The settings of an optimizer that the user made, and that it has taken no step."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.groups = [dict(group) for group in optimizer.param_groups] if optimizer else []
        self.state = dict(optimizer.state) if optimizer else {}

    def put_back(self) -> None:
        """Learning rates, moments."""
        if self.optimizer is None:
            return
        for group, settings in zip(self.optimizer.param_groups, self.groups, strict=True):
            group.clear()
            group.update(settings)
        self.optimizer.state.clear()
        self.optimizer.state.update(self.state)
