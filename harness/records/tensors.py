"""The tensors beside a record: one safetensors file a rung."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt


def read_tensors(directory: Path, rung: str) -> Mapping[str, npt.NDArray[Any]]:
    """The tensors beside a record, by key; empty where the rung stored none.

    Raises BadInput naming the file where it is cut short or no such file.
    """
    path = directory / f"{rung}.safetensors"
    if not path.is_file():
        return {}
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(str(path)))
    # A number type that numpy does not have is a KeyError.
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadInput(f"{path} is no whole safetensors file ({error}); measure again.") from error
