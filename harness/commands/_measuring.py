"""What the measuring verbs share: the request, its environment, its rungs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from harness.errors import BadInput
from harness.judging.audit.asking import rungs as audited
from harness.judging.audit.asking import user_training
from harness.judging.environments.build import environment_for
from harness.judging.environments.identity import identified
from harness.judging.workers.resolve import Request
from harness.recipe.published import variant
from harness.records.record import RUNGS


def request_of(arguments: argparse.Namespace) -> Request:
    """The typed request of a verb with the source options. Raises BadInput for a training that is
    no file, or beside a source that it would not look at."""
    training = None
    if getattr(arguments, "training", None):
        for option in ("--model", "--data", "--recipe", "--device"):
            if option in arguments.given:
                raise BadInput(
                    f"{option} does nothing beside --training, whose file says it; leave one out."
                )
        training = user_training(*arguments.training)
    return Request(
        stack=getattr(arguments, "stack", "current"),
        model=arguments.model,
        data=arguments.data,
        device=arguments.device,
        threads=arguments.threads,
        recipe=variant(arguments.recipe),
        training=training,
        columns=arguments.columns,
        splits=arguments.split,
    )


def python_of(stack: str, screen: Console) -> Path:
    """The Python of a stack's environment, built if need be.

    Raises BadInput for `current` where nothing of what is measured is installed.
    """
    if stack == "current":
        return environment_for(stack)
    identified(stack)  # what is none is refused before anything is announced
    screen.print(f"building or reusing the environment of {stack}")
    return environment_for(stack)


def rungs_of(request: Request, names: Sequence[str]) -> list[str]:
    """The rungs of those names in ladder order; for none all that there are, of a user's training
    those that are audited. Raises BadInput for an unknown."""
    if request.training is None or names:
        return rungs_named(names)
    return ["environment", *audited()]


def rungs_named(names: Sequence[str]) -> list[str]:
    """The rungs of those names in ladder order, all for none. Raises BadInput for an unknown."""
    unknown = [name for name in names if name not in RUNGS]
    if unknown:
        raise BadInput(f"There is no rung {unknown[0]!r}; choose from {', '.join(RUNGS)}.")
    return [rung for rung in RUNGS if not names or rung in names]


def warner(screen: Console) -> Callable[[str], None]:
    """Prints a warning as it is, markup and all."""
    return lambda line: screen.print(line, markup=False, soft_wrap=True)
