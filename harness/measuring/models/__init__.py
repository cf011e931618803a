"""Model families, one file each: the file name is the registration."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from harness.errors import BadInput


def families() -> tuple[str, ...]:
    """Names of the families found in this folder."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg))


def family(name: str) -> ModuleType:
    """The module of a family. Raises BadInput listing the families."""
    if name not in families():
        raise BadInput(f"There is no model family {name!r}; known are {', '.join(families())}.")
    return importlib.import_module(f"{__name__}.{name}")
