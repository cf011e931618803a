"""Random 7B shards are a real snapshot, the same bytes again, and as many as published."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.errors import BadInput, NotRunnable
from harness.measuring.instruments import footprint
from harness.measuring.lane import cases
from harness.measuring.lane.bench import Lane
from harness.measuring.lane.shelf import Shelf
from harness.measuring.models import qwen2_vl
from harness.measuring.snapshots import random_weights
from harness.measuring.snapshots.loading import (
    load_model,
    meta_model,
    quantisation_mode,
)
from harness.measuring.snapshots.source import STAND_IN, inspect
from suites.lane import TOKENS
from suites.oracles import footprint as shapes


@pytest.fixture(scope="module")
def random_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the stand-in's shapes, in many shards."""
    folder = tmp_path_factory.mktemp("random") / "model"
    config = json.loads((STAND_IN / "config.json").read_text("utf-8"))
    lines = list(
        random_weights.write_snapshot(
            folder, random_weights.fitted(config, STAND_IN), STAND_IN, shard_bytes=500_000
        )
    )
    assert len(lines) == len(list(folder.glob("*.safetensors"))) > 3
    return folder


@pytest.mark.slow
def test_a_random_snapshot_is_a_real_one(random_snapshot: Path) -> None:
    source = inspect(random_snapshot, "random")
    assert source.has_weights
    mode = quantisation_mode("cpu")
    model = load_model(random_snapshot, quantisation=mode)
    parts = footprint.measure(model)
    scheme = footprint.Scheme(four_bit=mode == "bitsandbytes", rest_bytes=4)
    wanted = footprint.predict(meta_model(random_snapshot), scheme)
    assert dict(parts.by_component) == dict(wanted.by_component)
    assert parts.total == wanted.total
    embeddings = {n: p for n, p in model.named_parameters() if "embed_tokens" in n}
    (embedding,) = embeddings.values()
    assert float(embedding.detach().float().std()) == pytest.approx(0.02, rel=0.05)


def test_loaded_bytes_of_the_lane_equal_the_formula(random_snapshot: Path) -> None:
    shelf = Shelf(random_snapshot, "cpu", quantisation_mode("cpu"))
    case = cases.loaded_bytes(Lane(shelf, pairs=1, micro=1, size=2), TOKENS)
    assert case["differing"] == []
    assert case["total"]["measured"] == case["total"]["formula"]
    config = json.loads((random_snapshot / "config.json").read_text("utf-8"))
    four_bit = shelf.quantisation == "bitsandbytes"
    wanted = shapes.bytes_by_part(config, four_bit=four_bit, rest=4)
    assert {n: p["formula"] for n, p in case["components"].items()} == wanted


def digests(folder: Path) -> Mapping[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.safetensors"))}


def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(
    random_snapshot: Path, tmp_path: Path
) -> None:
    config = json.loads((random_snapshot / "config.json").read_text("utf-8"))
    building = random_weights.write_snapshot(tmp_path / "m", config, STAND_IN, shard_bytes=500_000)
    next(building)
    building.close()
    # No config and no index yet: nobody takes it for a snapshot.
    with pytest.raises(BadInput, match=r"config\.json"):
        inspect(tmp_path / "m", "random")
    again = random_weights.write_snapshot(tmp_path / "m", config, STAND_IN, shard_bytes=500_000)
    assert len(list(again)) > 3
    assert digests(tmp_path / "m") == digests(random_snapshot)


def test_a_disk_without_room_is_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    config = json.loads((STAND_IN / "config.json").read_text("utf-8"))
    with pytest.raises(NotRunnable, match="set HARNESS_CACHE to a larger disk"):
        list(random_weights.write_snapshot(tmp_path / "m", config, STAND_IN))
    assert not list((tmp_path / "m").glob("*.safetensors"))


def test_values_depend_on_name_and_seed_only() -> None:
    one = random_weights.tensor("a.weight", (8, 8), 1, "cpu")
    assert torch.equal(one, random_weights.tensor("a.weight", (8, 8), 1, "cpu"))
    assert not torch.equal(one, random_weights.tensor("b.weight", (8, 8), 1, "cpu"))
    assert not torch.equal(one, random_weights.tensor("a.weight", (8, 8), 2, "cpu"))


def test_the_7b_shards_hold_the_published_bytes() -> None:
    shapes = random_weights.shapes_of(qwen2_vl.PUBLISHED["7b"].config)
    parts = random_weights.shards(shapes, random_weights.SHARD_BYTES)
    sizes = [sum(2 * math.prod(shapes[n]) for n in part) for part in parts]
    assert sum(sizes) == 16_582_751_232
    assert len(parts) == 5
    assert max(sizes) <= random_weights.SHARD_BYTES
