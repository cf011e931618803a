"""Which stack an interpreter has installed."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.errors import BadInput
from harness.records.files import read_object
from harness.records.folders import IS_CLONE, STACKS
from harness.records.machine import installed_versions
from harness.records.typed import Rules, build

HEAVY = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
# tox's environments are a clone's; an installed harness has stacks built by uv.
BUILD = "pass --stack reference to have it built"
MEND = f"tox -e main, or {BUILD}" if IS_CLONE else BUILD

# Recognising an installed stack by these is enough: they are what the recipe pins.
IDENTIFYING = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")


# What build.py leaves in an environment once it is whole.
BUILT = "harness.json"


@dataclass(frozen=True)
class Built:
    """stack: what records call an environment that the harness built."""

    stack: str


def installed_stack(stacks: Path = STACKS, prefix: Path = Path(sys.prefix)) -> str:
    """The stack that this interpreter was built as, else the committed one that it has installed,
    else `current`. prefix: the interpreter's environment. Raises BadInput naming a damaged file."""
    path = prefix / BUILT
    if path.is_file():
        try:
            return build(Built, read_object(path), Rules(more=True)).stack
        except ValueError as error:
            raise BadInput(f"{path} does not say its stack ({error}); remove {prefix}.") from error
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
