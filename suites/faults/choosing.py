"""How a blind round writes its faults down: functions that stand in for a library's, by path."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

from suites.faults import Fault
from suites.faults.late import briefly

Plants = list[tuple[str, str, Callable[[], AbstractContextManager[None]]]]


def chooser(plants: Plants) -> Callable[..., Callable[[Callable[..., Any]], None]]:
    """A decorator, given a rung, a name and the paths of functions or properties: what it decorates
    stands in for them, is given the right one first, and is added to the plants."""

    def chosen(rung: str, name: str, *targets: str) -> Callable[[Callable[..., Any]], None]:
        def choose(fault: Callable[..., Any]) -> None:
            @contextmanager
            def plant() -> Iterator[None]:
                with ExitStack() as every:
                    for target in targets:
                        every.enter_context(_planted(target, fault))
                    yield

            plants.append((rung, name, plant))

        return choose

    return chosen


def _planted(target: str, fault: Callable[..., Any]) -> Any:
    right = pkgutil.resolve_name(target)
    call = right.fget if isinstance(right, property) else right

    @wraps(call)
    def wrong(*args: Any, **kwargs: Any) -> Any:
        return fault(call, *args, **kwargs)

    return mock.patch(target, property(wrong) if isinstance(right, property) else wrong)


def as_faults(plants: Plants) -> tuple[Fault, ...]:
    """Each is slow, of `latest`, and found by whatever turns red at its rung."""
    return tuple(
        Fault(
            rung,
            name,
            rung,
            briefly(plant) if rung in ("trajectory", "generation") else plant,
            only="latest",
            slow=True,
        )
        for rung, name, plant in plants
    )
