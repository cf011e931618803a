"""Ways that a file comes to be other than it was written."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path, place: int | None = None) -> None:
    """One bit, at a place that the file's name decides where none is given."""
    data = bytearray(path.read_bytes())
    dice = random.Random(path.name)
    data[dice.randrange(len(data)) if place is None else place] ^= 1 << dice.randrange(7)
    path.write_bytes(bytes(data))


WAYS: Mapping[str, Callable[[Path], None]] = {
    "delete": delete,
    "empty": empty,
    "half": half,
    "flip": flip,
}


def tensor_places(path: Path) -> dict[str, tuple[int, int]]:
    """(first byte, byte after the last) of every tensor of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return {
        name: (8 + length + entry["data_offsets"][0], 8 + length + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }
