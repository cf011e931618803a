"""Which committed stack an interpreter has installed."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.records.folders import STACKS

# Recognising an installed stack by these is enough: they are what the recipe pins.
IDENTIFYING = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")


def installed_stack(stacks: Path = STACKS) -> str:
    """The committed stack that this interpreter has installed, else `current`."""
    for path in sorted(stacks.glob("*.lock")):
        pins = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text("utf-8"), re.M))
        try:
            if all(version(name).split("+")[0] == pins.get(name) for name in IDENTIFYING):
                return path.stem
        except PackageNotFoundError:
            continue
    return "current"


def stack_label(stack: str) -> str:
    """A stack as records name it: of `current`, the committed one that is installed."""
    return installed_stack() if stack == "current" else stack
