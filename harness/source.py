"""Where the model comes from: a snapshot folder, the hub at a pinned revision, or the stand-in."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import BadInput, NotRunnable
from harness.models import qwen2_vl
from harness.record import json_digest, read_json

STAND_IN = Path(__file__).resolve().parent / "models" / "stand_in"
HUB = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>.+)$")
REVISION = re.compile(r"^[0-9a-f]{40}$")
NEEDED = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
Vocabulary = Literal["real", "stand-in", "other"]


@dataclass(frozen=True)
class Source:
    """A resolved model. digests: SHA-256 of the small files, header digest of weight files."""

    name: str
    snapshot: Path
    has_weights: bool
    vocabulary: Vocabulary
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One digest over all files."""
        return json_digest(dict(self.digests))


def resolve(model: str) -> Source:
    """Find, download or refuse a model.

    Raises BadInput for a name, folder or file that cannot be used, NotRunnable for what needs
    CUDA. The hub is asked only for `org/name@<40 hex>`.
    """
    if model == "stand-in":
        return inspect(STAND_IN, "stand-in")
    if model == "random-7b":
        raise NotRunnable(
            "random-7b builds 16.6 GB of random weights for cost runs on CUDA, which is not here; "
            "use the stand-in or a snapshot."
        )
    path = Path(model).expanduser()
    if path.is_dir():
        return inspect(path.resolve(), f"snapshot:{path.resolve().name}")
    found = HUB.match(model)
    if found is None:
        if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not path.exists():
            raise BadInput(
                f"{model} names no revision and is no folder; give {model}@<40 hex digits>, "
                "so that everyone measures the same files."
            )
        raise BadInput(
            f"There is no model {model!r}; give a snapshot folder, org/name@<40 hex> or stand-in."
        )
    if not REVISION.match(found["revision"]):
        raise BadInput(
            f"{found['revision']!r} is no pinned revision; give the commit's 40 hex digits, "
            "branches and tags move."
        )
    from harness.hub import download

    return inspect(download(found["id"], found["revision"]), model)


def inspect(folder: Path, name: str) -> Source:
    """Check a snapshot folder's files. Raises BadInput naming the first thing wrong."""
    qwen2_vl.check_snapshot(folder)
    for file in NEEDED:
        if not (folder / file).is_file():
            raise BadInput(f"{folder} lacks {file}; download the snapshot again.")
    weights = _weights(folder)
    if not weights and any(folder.glob("*.bin")):
        raise BadInput(
            f"{folder} holds pickled weights (*.bin), which run code when loaded; "
            "give a snapshot with safetensors."
        )
    small = [p for p in sorted(folder.iterdir()) if p.suffix in {".json", ".txt"} and p.is_file()]
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in small}
    digests.update({p.name: _checked_header(p) for p in weights})
    return Source(name, folder, bool(weights), _vocabulary(folder, name), digests)


def _vocabulary(folder: Path, name: str) -> Vocabulary:
    added = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder", {})
    held = {str(entry["content"]): int(i) for i, entry in added.items()}
    if all(held.get(token) == i for token, i in qwen2_vl.REAL_IDS.items()):
        return "real"
    return "stand-in" if name == "stand-in" else "other"


def _weights(folder: Path) -> list[Path]:
    """The weight files; every shard that an index names must be there. Raises BadInput."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index)["weight_map"].values()))
        absent = [shard for shard in shards if not (folder / shard).is_file()]
        if absent and len(absent) < len(shards):
            raise BadInput(
                f"{folder} lacks {len(absent)} of {len(shards)} weight files, first {absent[0]}; "
                "finish the download."
            )
        return [folder / shard for shard in shards if (folder / shard).is_file()]
    return sorted(folder.glob("*.safetensors"))


def _checked_header(path: Path) -> str:
    """Digest of a safetensors header whose offsets fit the file. Raises BadInput if they don't."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size, 100_000_000):
                raise ValueError("the header is longer than the file")
            raw = stream.read(length)
        header = json.loads(raw)
        end = max(
            (v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0
        )
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise BadInput(f"{path} is no safetensors file ({error}); download it again.") from error
    if 8 + length + end != size:
        raise BadInput(
            f"{path} has {size} bytes, its header says {8 + length + end}; download it again."
        )
    return hashlib.sha256(raw).hexdigest()


def offline() -> bool:
    """Whether the hub's own offline switch is on."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
