"""Bytes from shapes: the code tables and block counts by hand, the components, the embedded 7B."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import pytest

from harness.measuring.instruments import footprint
from harness.measuring.models import component, qwen2_vl
from suites.oracles import architecture
from suites.oracles import footprint as oracle

SEVEN_B = qwen2_vl.PUBLISHED["7b"].config


@pytest.mark.parametrize(
    ("count", "double", "single"),
    [
        # codes + blocks + 4 per 256 blocks + 4 offset + 64 + 1,024 | codes + 4 per block + 64
        (1, 1 + 1 + 4 + 4 + 1088, 1 + 4 + 64),
        (64, 32 + 1 + 4 + 4 + 1088, 32 + 4 + 64),
        (65, 33 + 2 + 4 + 4 + 1088, 33 + 8 + 64),
        (64 * 256, 8192 + 256 + 4 + 4 + 1088, 8192 + 1024 + 64),
        (64 * 256 + 1, 8193 + 257 + 8 + 4 + 1088, 8193 + 1028 + 64),
    ],
)
def test_bytes_of_one_weight(count: int, double: int, single: int) -> None:
    assert footprint.nf4_bytes(count) == double
    assert footprint.nf4_bytes(count, double=False) == single
    assert architecture.nf4_bytes(count, True) == double
    assert architecture.nf4_bytes(count, False) == single


def test_bits_per_parameter_approach_the_papers_figure() -> None:
    count = 2**34
    assert 8 * footprint.nf4_bytes(count) / count == pytest.approx(
        4 + 8 / 64 + 32 / 16384, abs=1e-5
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lm_head.weight", "lm_head"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.language_model.embed_tokens.weight", "embed_tokens"),
        ("model.layers.3.mlp.up_proj.weight", "language"),
        ("model.layers.3.input_layernorm.weight", "norms"),
        ("model.norm.weight", "norms"),
        ("visual.blocks.0.norm1.bias", "vision"),
        ("model.visual.merger.mlp.0.weight", "merger"),
        ("visual.patch_embed.proj.weight", "patch_embed"),
        ("something.else", "other"),
    ],
)
def test_components(name: str, wanted: str) -> None:
    assert component(name, qwen2_vl) == wanted


def test_the_embedded_config_is_the_oracles() -> None:
    for key, value in oracle.SEVEN_B.items():
        assert SEVEN_B[key] == value


@pytest.mark.skipif(
    not (Path(os.environ.get("HARNESS_MODEL") or "/nonexistent") / "config.json").is_file(),
    reason="NOT_RUN: HARNESS_MODEL names no snapshot folder",
)
def test_the_embedded_config_is_the_published_one() -> None:
    real = json.loads((Path(os.environ["HARNESS_MODEL"]) / "config.json").read_text("utf-8"))
    if real["hidden_size"] != SEVEN_B["hidden_size"]:
        pytest.skip("NOT_RUN: the snapshot given is not the 7B model")
    for key, value in SEVEN_B.items():
        if key == "vision_config":
            assert {k: real[key][k] for k in value} == value
        else:
            assert real[key] == value, key


def test_published_figures_from_the_config_alone() -> None:
    config = oracle.SEVEN_B
    gib = 2**30
    assert sum(math.prod(s) for s in oracle.parameters(config).values()) == 8_291_375_616
    assert sum(oracle.bytes_by_part(config, four_bit=False).values()) == 16_582_751_232
    assert sum(oracle.bytes_by_part(config).values()) == 5_898_851_352
    assert oracle.parameter_bytes(config) == 5_784_253_440
    assert sum(oracle.bytes_by_part(config, vision_four_bit=False).values()) == 6_898_583_312
    single = sum(oracle.bytes_by_part(config, double=False).values())
    assert single / gib == pytest.approx(5.806, abs=5e-4)
    prepared = sum(oracle.bytes_by_part(config, rest=4).values())
    assert prepared / gib == pytest.approx(7.528, abs=5e-4)
    assert oracle.lora(config) == {
        "adapted": 56,
        "trainable": 2_523_136,
        "total": 8_293_898_752,
    }


# torch 2.7 cannot have the model's module loaded while tensors go to the meta device.
LOADING = """
import gc, os, sys
gc.disable()
import torch
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.endswith("modeling_qwen2_vl"):
            print(torch.empty(0).device, flush=True)
            os._exit(0)  # what it would be loaded for is no question of this test
sys.meta_path.insert(0, Watch())
from harness.measuring.snapshots.loading import published_model
published_model('qwen2_vl', '7b')
"""


def test_the_model_is_loaded_before_tensors_go_to_the_meta_device() -> None:
    """In a process of its own, which forgets what another test has loaded here."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(write, 1)
            sys.stdout = os.fdopen(1, "w")
            loaded = ("transformers", "peft", "trl", "harness.measuring")
            for name in [
                n for n in sys.modules if f"{n}.".startswith(tuple(f"{x}." for x in loaded))
            ]:
                del sys.modules[name]
            exec(LOADING, {})
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as line:
        assert line.read().split() == ["cpu"]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
