"""Planted defects, each one small edit of the pipeline or of a library object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Fault:
    """name: what is broken. finds: a metric of `rung` that must turn red. only: the stack it
    can be told apart on (elsewhere a known finding of that stack already says the same)."""

    rung: str
    name: str
    finds: str
    plant: Callable[[], AbstractContextManager[Any]]
    only: str | None = None
    slow: bool = False


@contextmanager
def edited_processor(edit: Callable[[Any], None]) -> Iterator[None]:
    """Every processor loaded inside is edited once."""
    from harness.measuring.snapshots import loading

    load = loading.load_processor

    def edited(*args: Any, **kwargs: Any) -> Any:
        processor = load(*args, **kwargs)
        edit(processor)
        return processor

    with mock.patch.object(loading, "load_processor", edited):
        yield


@contextmanager
def edited_result(owner: Any, name: str, edit: Callable[[Any], Any]) -> Iterator[None]:
    """A function's or method's result is edited."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return edit(original(*args, **kwargs))

    with mock.patch.object(owner, name, wrapped):
        yield


@contextmanager
def edited_arguments(owner: Any, name: str, edit: Callable[..., tuple[Any, Any]]) -> Iterator[None]:
    """A function's or method's arguments are edited: edit(args, kwargs) -> (args, kwargs)."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = edit(args, kwargs)
        return original(*args, **kwargs)

    with mock.patch.object(owner, name, wrapped):
        yield
