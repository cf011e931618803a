"""`random-7b`: a real sharded snapshot of the recipe's model, its shapes with random weights.

Footprint, FLOPs, memory and speed don't depend on the values, so what they cost can be measured
where the published weights are not at hand. Texts from such a model mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import NotRunnable
from harness.measuring import _compat
from harness.measuring.models import canonical_name, family, of_type
from harness.measuring.snapshots.weights import INDEX
from harness.records.files import write_json
from harness.records.folders import cache_root

# The published snapshot's shards are a little under 4 GB each.
SHARD_BYTES = 4_000_000_000
# transformers' default initializer_range.
STANDARD_DEVIATION = 0.02


def seed_of(name: str, seed: int) -> int:
    """One tensor's seed, from its name: the values don't depend on the order of building."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")


def shapes_of(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name (as the published checkpoint spells it) and shape of every parameter, and of every
    buffer that is kept with them."""
    loader = family(of_type(config["model_type"]))
    model = _compat.on_meta(loader.config(config), loader.ARCHITECTURE)
    state = model.state_dict()
    kept = ((name, buffer) for name, buffer in model.named_buffers() if name in state)
    return {
        canonical_name(name, loader): tuple(tensor.shape)
        for name, tensor in (*model.named_parameters(), *kept)
    }


def tensor(name: str, shape: tuple[int, ...], seed: int, device: str) -> Any:
    """One bfloat16 tensor on the CPU: ones for norms, zeros for biases, else normal values.

    device: where it is drawn; CPU and CUDA draw different values from one seed.
    """
    import torch

    if name.endswith(".bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    generator = torch.Generator(device).manual_seed(seed_of(name, seed))
    drawn = torch.empty(shape, dtype=torch.bfloat16, device=device)
    return drawn.normal_(0.0, STANDARD_DEVIATION, generator=generator).cpu()


def shards(shapes: Mapping[str, tuple[int, ...]], limit: int) -> list[list[str]]:
    """Names by shard, in order, each shard at most `limit` bytes (or one tensor)."""
    parts: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        if parts[-1] and filled + size > limit:
            parts.append([])
            filled = 0
        parts[-1].append(name)
        filled += size
    return parts


def write_snapshot(
    folder: Path,
    config: Mapping[str, Any],
    processor_files: Path,
    *,
    seed: int = 42,
    device: str = "cpu",
    shard_bytes: int = SHARD_BYTES,
) -> Iterator[str]:
    """Write config, processor files and sharded weights; yields a line per shard.

    A shard that is already whole is kept; the index comes last, so that an interrupted build is
    never taken for a snapshot (its shards name the missing ones). Two builders wait for one
    another. Raises NotRunnable where the disk has no room.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        yield from _written(folder, config, processor_files, seed, device, shard_bytes)


def _written(
    folder: Path,
    config: Mapping[str, Any],
    processor_files: Path,
    seed: int,
    device: str,
    shard_bytes: int,
) -> Iterator[str]:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(processor_files.iterdir()):
        if file.suffix in {".json", ".txt", ".jinja"} and file.name not in {"config.json", INDEX}:
            shutil.copyfile(file, folder / file.name)
    shapes = shapes_of(config)
    parts = shards(shapes, shard_bytes)
    need = sum(2 * _count(shapes[n]) for part in parts for n in part)
    free = shutil.disk_usage(folder).free + sum(f.stat().st_size for f in folder.glob("*.saf*"))
    if free < need:
        raise NotRunnable(
            f"random-7b takes {need / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            "free some, or set HARNESS_CACHE to a larger disk."
        )
    where: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = folder / f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        where |= dict.fromkeys(part, file.name)
        if not file.is_file():
            half = file.with_suffix(".part")
            tensors = {name: tensor(name, shapes[name], seed, device) for name in part}
            save_file(tensors, half, metadata={"format": "pt"})
            half.replace(file)
        yield f"shard {number} of {len(parts)}"
    write_json(folder / "config.json", {**config, "torch_dtype": "bfloat16"})
    write_json(folder / INDEX, {"metadata": {"total_size": need}, "weight_map": where})


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def fitted(config: Mapping[str, Any], processor_files: Path) -> dict[str, Any]:
    """The config with the control tokens of the given tokenizer.

    The published embedding rows outnumber any tokenizer's ids here, so shapes stay as they are.
    """
    raw = json.loads((processor_files / "tokenizer_config.json").read_text(encoding="utf-8"))
    ids = {v["content"]: int(k) for k, v in (raw.get("added_tokens_decoder") or {}).items()}
    loader = family(of_type(config["model_type"]))
    known = {field: ids[token] for token, field in loader.CONFIG_TOKENS.items() if token in ids}
    end = ids.get(loader.CHAT.turn_end, config.get("eos_token_id"))
    return {**config, **known, "eos_token_id": end}


def cache_folder(seed: int, device: str, config: Mapping[str, Any]) -> Path:
    """Where one random snapshot is kept; another config or drawing device is another folder."""
    key = json.dumps([dict(config), seed, device], sort_keys=True, default=str)
    return cache_root() / "random" / hashlib.sha256(key.encode()).hexdigest()[:16]
