"""What a training's settings say of its updates, and which of them the user said."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from harness.measuring.audit.training import Training

_LIBRARIES = ("transformers.", "trl.", "accelerate.")


def stated(training: Training, *names: str) -> bool:
    """Whether any of these arguments differs from its class's default: then the user meant it."""
    defaults = {f.name: f.default for f in fields(training.args) if f.default is not MISSING}
    return any(
        name in training.declared
        and name in defaults
        and _plain(training.declared[name]) != _plain(defaults[name])
        for name in names
    )


def declared(training: Training, name: str, default: Any = None) -> Any:
    """An argument as the user wrote it, enumerations as their text."""
    return _plain(training.declared.get(name, default))


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def switches_dropout_off(training: Training) -> bool:
    """Whether the Trainer sets every rate of its model to 0, as TRL's for preferences do."""
    return bool(getattr(training.args, "disable_dropout", False))


def has_own_optimizer(training: Training) -> bool:
    """Whether the user gave an optimizer, or makes it in a method of their own."""
    return training.trainer.optimizer is not None or _overrides(training, "create_optimizer")


def has_own_scheduler(training: Training) -> bool:
    """The same for the schedule."""
    return training.trainer.lr_scheduler is not None or _overrides(training, "create_scheduler")


def _overrides(training: Training, method: str) -> bool:
    module = getattr(getattr(type(training.trainer), method), "__module__", "")
    return not module.startswith(_LIBRARIES)
