"""Small whole Qwen2-VL snapshots for tests: the stand-in's texts with tensors of one number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

TEXTS = Path(__file__).resolve().parents[2] / "harness" / "measuring" / "stand_in" / "qwen2_vl"


def tensors(config: dict[str, object]) -> dict[str, np.ndarray]:
    """One small tensor for every layer and block of a Qwen2-VL config, and the embedding."""
    vision = config["vision_config"]
    assert isinstance(vision, dict)
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(config["num_hidden_layers"])]  # type: ignore[call-overload]
    names += [f"visual.blocks.{i}.mlp.fc1.weight" for i in range(vision["depth"])]
    return {
        name: np.full((2, 2), i, dtype=np.float32)
        for i, name in enumerate([*names, "model.embed_tokens.weight"])
    }


def files(*, shards: int = 0, padding: int = 0) -> dict[str, bytes]:
    """A snapshot's files by name. shards: 0 for one file. padding: random bytes to be large by."""
    texts = {p.name: p.read_bytes() for p in TEXTS.iterdir() if p.suffix in {".json", ".txt"}}
    weights = tensors(json.loads(texts["config.json"]))
    if padding:
        noise = np.random.default_rng(0).integers(0, 256, padding, dtype=np.uint8)
        weights["padding"] = noise
    if not shards:
        return {**texts, "model.safetensors": save(weights)}
    weight_map = {
        name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors"
        for i, name in enumerate(weights)
    }
    for shard in sorted(set(weight_map.values())):
        texts[shard] = save({n: weights[n] for n, file in weight_map.items() if file == shard})
    index = {"metadata": {}, "weight_map": weight_map}
    return {**texts, "model.safetensors.index.json": json.dumps(index).encode()}


def write(folder: Path, content: dict[str, bytes]) -> Path:
    """Write the files into a new folder and return it."""
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder
