"""What is installed."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version


def installed(package: str) -> Version:
    """Installed version of a distribution. Raises PackageNotFoundError."""
    return Version(version(package))
