"""torch.compile of what a way compiles: any length, but numbers that a model never changes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

SWITCH = "specialize_float"


def compiled(function: Callable[..., Any], options: dict[str, Any] | None = None) -> Any:
    """The function by torch.compile for tensors of any length, its Python floats constants.

    `dynamic=True` takes a float that is met first, a norm's epsilon or LoRA's scaling, for one that
    may change, and hands it to the graph as a tensor on the CPU (torch 2.6 and later;
    torch/_dynamo/config.py, specialize_float). On a GPU that one number brings kernels in C++ into
    the graph: torch.compile looks for a compiler, and builds and starts a program for each kind of
    vector instructions, in every process anew. The switch is this function's alone: it is set
    while it runs and as it was afterwards.
    """
    import torch

    config = torch._dynamo.config
    run = torch.compile(function, dynamic=True, options=options)
    if getattr(config, SWITCH, True):
        return run

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        before = getattr(config, SWITCH)
        setattr(config, SWITCH, True)
        try:
            return run(*given, **named)
        finally:
            setattr(config, SWITCH, before)

    return call
