"""Which committed stack an interpreter has installed."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.errors import BadInput
from harness.records.folders import IS_CLONE, STACKS
from harness.records.machine import installed_versions

HEAVY = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
# tox's environments are a clone's; an installed harness has stacks built by uv.
BUILD = "pass --stack reference to have it built"
MEND = f"tox -e main, or {BUILD}" if IS_CLONE else BUILD

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


def this_python() -> Path:
    """The interpreter of the stack `current`. Raises BadInput where nothing of what is measured is
    installed for it."""
    if set(HEAVY).isdisjoint(installed_versions()):
        raise BadInput(f"Nothing of what is measured is installed for {sys.executable}; {MEND}.")
    return Path(sys.executable)
