"""The layers that a bisect has built and still needs, in a folder of its own.

Two bisects at once never touch each other's layers; what a killed one left is removed by the next.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from harness.judging.environments import overlay
from harness.records.scratch import Scratch


class Layers:
    """Built layers by name. root: shared by every bisect; each has one folder in it, locked while
    the bisect lives."""

    def __init__(self, root: Path) -> None:
        self._scratch = Scratch(root)

    def built(
        self, name: str, layer: overlay.Layer, python: Path, wheels: Path | None
    ) -> tuple[Path, bool]:
        """The layer's folder, and whether it had to be installed.

        Raises StackBroken where it cannot be installed, OutOfSpace where the disk is full.
        """
        place = self._scratch.path / name
        if place.is_dir():
            return place, False
        overlay.install(layer, python, place, wheels)
        return place, True

    def keep(self, names: Collection[str]) -> None:
        """Drop every layer but these."""
        for place in self._scratch.path.iterdir():
            if place.name not in names:
                shutil.rmtree(place)

    def close(self) -> None:
        """Drop all and the folder."""
        self._scratch.close()
