"""Edits of what functions and methods give, for as long as a fault is planted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

Plant = AbstractContextManager[Any]


def edited_result(owner: Any, name: str, edit: Callable[[Any], Any]) -> Plant:
    """A function's or method's result is edited."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return edit(original(*args, **kwargs))

    return mock.patch.object(owner, name, wrapped)


def first_tensor(values: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments or results, the first floating tensor of them changed."""
    import torch

    if isinstance(values, torch.Tensor):
        return change(values)
    changed, done = [], False
    for value in values:
        is_it = not done and isinstance(value, torch.Tensor) and value.is_floating_point()
        changed.append(change(value) if is_it else value)
        done = done or is_it
    return tuple(changed)
