"""Tensors and adapters that one stack hands to another: read only as they were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records.files import write_atomically
from harness.records.seals import check_file, read_sealed, write_sealed

# Of the seal beside a file. History: 1 (2026-11) first format.
SCHEMA = 1
MEND = "compare again, into a new folder"
ADAPTER = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")


def write_handed(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write torch tensors by name, of any shape and dtype, as safetensors, and the seal beside."""
    from safetensors.torch import save

    write_atomically(path, save(dict(tensors)))
    write_sealed(_seal(path), {"schema": SCHEMA}, [path.name])


def read_handed(path: Path) -> dict[str, Any]:
    """Tensors that write_handed wrote, by name. Raises BadInput naming a file that is missing,
    Damaged one that is not as it was written."""
    from safetensors.torch import load_file

    read_sealed(_seal(path), MEND)
    return dict(load_file(str(path)))


def sealed_adapter(training: Path) -> Path:
    """The folder of a finished training's adapter. Raises Damaged naming a file of it that is not
    as it was written."""
    for name in ADAPTER:
        check_file(training, name, MEND)
    return training / "adapter"


def _seal(path: Path) -> Path:
    return path.with_suffix(".seal.json")
