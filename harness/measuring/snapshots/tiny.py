"""`tiny:FAMILY[@SIZE]`: a snapshot with every special part of a family, built in a second.

The config is the published size's, shrunk by the family's own rule; the vocabulary and the template
are the project's; the weights are random, the same bits on every machine and stack. Texts from such
a model mean nothing; everything that does not need a trained model is measured on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.measuring.models import check_runs, families, family
from harness.measuring.snapshots.random_weights import fitted, seed_of, shapes_of
from harness.records import seals
from harness.records.files import json_digest, read_json, write_atomically, write_json
from harness.records.folders import cache_root
from harness.records.scratch import Scratch

PREFIX = "tiny:"
# Of the weights. Another rule for them is another number: the folder is named by it.
SEED = 1
OWN = ("config.json", "model.safetensors")
# Elements of a vector vary by this around what a norm's or a bias' would be in a new model, so that
# one that is lost or exchanged shows.
SPREAD = 0.1


def named(model: str) -> tuple[str, str]:
    """(family, size) of `tiny:FAMILY[@SIZE]`; without a size the first that its file names.

    Raises BadInput listing the families, or the sizes.
    """
    name, _, size = model.removeprefix(PREFIX).partition("@")
    if name not in families():
        raise BadInput(
            f"There is no family for {model}; give {PREFIX}{{{','.join(families())}}}, "
            "with @SIZE for another published size than its first."
        )
    sizes = tuple(family(name).PUBLISHED)
    if size and size not in sizes:
        raise BadInput(f"{model} names no published size; {name} has {', '.join(sizes)}.")
    return name, size or sizes[0]


def snapshot(model: str) -> Path:
    """The folder of a tiny model, built where it is not there yet; a build that is cut short
    leaves none. Raises BadInput for a name, Damaged naming a file that is not as it was built,
    NotRunnable where the libraries lack the family."""
    name, size = named(model)
    check_runs(name)
    loader = family(name)
    published = loader.PUBLISHED[size].config
    files, config = loader.files(published), loader.tiny(published)
    # Folders from before there were seals have names without the seal's number.
    key = json_digest([files, config, SEED, seals.SCHEMA_VERSION])
    folder = cache_root() / "tiny" / f"{name}-{key}"
    if not folder.is_dir():
        with Scratch(folder.parent / "building") as scratch:
            half = scratch / folder.name
            _write(half, files, config)
            try:
                half.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was first
                    raise
    seals.check_seal(folder, [*files, *OWN], f"delete {folder}")
    return folder


def _write(folder: Path, files: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    for name, content in files.items():
        if isinstance(content, str):
            write_atomically(folder / name, content.encode())
        else:
            write_json(folder / name, content)
    whole = {**_with_rows(fitted(config, folder), _rows(folder)), "torch_dtype": "float32"}
    write_json(folder / "config.json", whole)
    tensors = {name: _tensor(name, shape) for name, shape in sorted(shapes_of(whole).items())}
    write_atomically(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    seals.seal(folder, [*files, *OWN])


def _rows(folder: Path) -> int:
    """Rows of the embedding: a multiple of 64, the block of NF4, that no token lies behind."""
    added = read_json(folder / "tokenizer_config.json")["added_tokens_decoder"]
    return (max(map(int, added)) + 64) // 64 * 64


def _with_rows(config: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The config with that many; newer ones keep the number in `text_config`."""
    new = {**config}
    if "vocab_size" in config:
        new["vocab_size"] = rows
    if "text_config" in config:
        # Some look their tokens up in a second table.
        tables = [name for name in config["text_config"] if name.startswith("vocab_size")]
        new["text_config"] = {**config["text_config"], **dict.fromkeys(tables, rows)}
        new["text_config"]["vocab_size"] = rows
    return new


def _tensor(name: str, shape: tuple[int, ...]) -> Any:
    """float32. A matrix keeps its input's variance: 1 / sqrt(columns) is its deviation; a vector
    lies around 1, a bias around 0, a least value around -1. Drawn by numpy's legacy generator,
    whose stream is frozen."""
    import numpy
    import torch

    drawn = numpy.random.RandomState(seed_of(name, SEED) % 2**32).standard_normal(shape or (1,))
    if len(shape) > 1:
        values = drawn / math.sqrt(math.prod(shape[1:]))
    else:
        values = drawn * SPREAD + (0.0 if name.endswith(".bias") else 1.0)
        if name.endswith("_min"):
            values = -values
    return torch.tensor(values.astype(numpy.float32).reshape(shape))
