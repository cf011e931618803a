"""Check weight files and take digests without loading anything: headers, sizes, SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Damaged
from harness.measuring.models import Family, canonical_name
from harness.records.components import Component
from harness.records.files import text_digest, write_json
from harness.records.folders import cache_root
from harness.records.scratch import Scratch
from harness.records.seals import read_sealed, sealed
from harness.records.typed import build

INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")
# The safetensors format's own limit.
LONGEST_HEADER = 100_000_000
# Of the layers that are missing, as many are named.
SHOWN = 10
# Larger files are hashed once and then recognised by size and time of change: 16.6 GB take about
# ten seconds from memory and minutes from a slow disk.
LARGE = 64 * 1024 * 1024


def json_object(path: Path) -> dict[str, Any]:
    """A snapshot's JSON file. Raises BadInput naming it where it is no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not readable JSON ({first_line(error)}); download it again."
        ) from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} holds no JSON object; download it again.")
    return value


def first_line(error: BaseException) -> str:
    """The first line of an error's message, its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The snapshot's safetensors files, none where it has no weights.

    Raises BadInput naming every file that an index or a shard's own number says is missing.
    """
    present = {path.name for path in folder.glob("*.safetensors")}
    wanted = set(_listed(folder)) if present else set()
    for name in present:
        shard = SHARD.match(name)
        if shard:
            wanted |= {
                f"{shard['stem']}-{i:05d}-of-{shard['count']}.safetensors"
                for i in range(1, int(shard["count"]) + 1)
            }
    absent = sorted(wanted - present)
    if absent:
        raise BadInput(
            f"{folder} lacks {len(absent)} of its {len(wanted)} weight files "
            f"({', '.join(absent)}); finish the download."
        )
    return tuple(folder / name for name in sorted(wanted or present))


def _listed(folder: Path) -> Iterable[str]:
    if not (folder / INDEX).is_file():
        return ()
    shards = json_object(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
        raise BadInput(f"{folder / INDEX} has no weight_map; download it again.")
    outside = next((s for s in shards.values() if Path(s).name != s), None)
    if outside is not None:
        raise BadInput(f"{folder / INDEX} names {outside!r} outside its folder; do not use it.")
    return shards.values()


def _depths(config: Mapping[str, Any], path: Path, loader: Family) -> dict[str, int]:
    """How many numbered parts a config says there are. Raises BadInput where it says no number."""
    try:
        depths = loader.depths(config)
        if min(depths.values(), default=0) < 0:
            raise ValueError("a number of layers is below 0")
        return depths
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(
            f"{path} does not say how many layers there are ({first_line(error)}); "
            "download the snapshot again."
        ) from error


def check_weights(files: Iterable[Path], config: Mapping[str, Any], loader: Family) -> None:
    """Every header whole and fitting its file, every layer of the config there.

    The libraries initialise what a file lacks at random and only warn. Raises BadInput.
    """
    files = tuple(files)
    if not files:
        return
    names = {canonical_name(n, loader) for path in files for n in tensor_names(path)}
    folder = files[0].parent
    for stack, count in _depths(config, folder / "config.json", loader).items():
        numbered = re.compile(rf"{re.escape(stack)}\.(\d+)\.")
        present = {int(number[1]) for name in names if (number := numbered.match(name))}
        # As many as there are and a few more: a config may say a thousand million.
        looked = range(min(count, len(present) + SHOWN))
        absent = [number for number in looked if number not in present]
        if absent:
            more = count - len(present) - len(absent)
            raise BadInput(
                f"The weights in {folder} lack {stack.rpartition('.')[2]} "
                f"{', '.join(map(str, absent[:SHOWN]))}{' and more' if more > 0 else ''} "
                f"of the {count} that config.json says; "
                "download the snapshot again."
            )
    if not any(loader.component(name) is Component.EMBEDDING for name in names):
        raise BadInput(f"The weights in {folder} lack the embedding; download them again.")


def tensor_names(path: Path) -> tuple[str, ...]:
    """Names in a safetensors file whose header is whole and fits its size. Raises BadInput."""
    from safetensors import SafetensorError, safe_open

    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
        if expected == size:
            # The library's own check: dtypes, shapes, gaps and overlaps.
            with safe_open(str(path), framework="np") as opened:
                return tuple(opened.keys())
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        struct.error,
        OSError,
        SafetensorError,
    ) as error:
        raise BadInput(
            f"{path} is no whole safetensors file ({first_line(error)}); download it again."
        ) from error
    raise BadInput(f"{path} has {size} bytes, its header says {expected}; download it again.")


@dataclass(frozen=True)
class _Known:
    """What was hashed. path: whole. size: bytes. changed: nanoseconds. inode: of the file. sha256:
    64 hex digits."""

    path: str
    size: int
    changed: int
    inode: int
    sha256: str


def sha256(path: Path) -> str:
    """SHA-256 of a file; that of a large one is remembered until its size or time changes.

    Each has a file of its own in the cache, so that none is lost where many are hashed at once.
    Raises Damaged naming one that is not as it was written.
    """
    path = path.resolve()
    seen = path.stat()
    if seen.st_size < LARGE:
        return _hash(path)
    memory = cache_root() / "digests" / "files" / f"{text_digest(str(path))}.json"
    known = _known(memory)
    stamp = (str(path), seen.st_size, seen.st_mtime_ns, seen.st_ino)
    if known and (known.path, known.size, known.changed, known.inode) == stamp:
        return known.sha256
    digest = _hash(path)
    remember(memory, sealed(asdict(_Known(*stamp, digest))))
    return digest


def _known(memory: Path) -> _Known | None:
    if not memory.is_file():
        return None
    mend = f"delete {memory}"
    try:
        known: _Known = build(_Known, read_sealed(memory, mend))
    except ValueError as error:
        raise Damaged(f"{memory} is no whole digest ({error}); {mend}.") from error
    except BadInput as error:
        raise Damaged(str(error)) from error
    return known


def remember(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of our cache, in one step. Nobody is ever alone with a cache: half a file lies
    in a folder of its writer's own, and what a killed one left goes when the next one writes.

    Raises BadInput where the cache cannot be written.
    """
    try:
        with Scratch(cache_root() / "digests" / "writing") as work:
            write_json(work / path.name, dict(value))
            path.parent.mkdir(parents=True, exist_ok=True)
            (work / path.name).replace(path)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); set HARNESS_CACHE to a folder of yours."
        ) from error


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
