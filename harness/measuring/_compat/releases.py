"""What is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from packaging.version import Version


@cache
def installed(package: str) -> Version:
    """Installed version of a distribution, read once: it takes a twentieth of a small model's load.
    Raises PackageNotFoundError."""
    return Version(version(package))
