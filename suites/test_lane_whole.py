"""A whole training of the stand-in on a CPU: every row once, every phase in its order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from harness.data.dataset import load_rows
from harness.measuring import _compat
from harness.measuring.lane.step import prepare, step
from harness.measuring.lane.whole import compiling
from harness.measuring.lane.whole.__main__ import run
from harness.measuring.lane.whole.clock import WholeSpec, number
from harness.measuring.lane.whole.rows import Batches
from harness.measuring.snapshots.loading import load_model, quantisation_mode
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import REFERENCE, training_messages
from harness.recipe.ways import variant
from harness.records.files import read_json


@pytest.mark.slow
def test_an_epoch_takes_every_row_once_and_every_phase_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    words = "published --device cpu --model stand-in --rows 6 --tokens 170 --later 1 --processes 1"
    out = tmp_path / "whole.json"
    # What this process has compiled for others before is no part of it.
    monkeypatch.setitem(counters["stats"], "unique_graphs", 7)
    assert run([*words.split(), "--out", str(out)]) == 0
    raw = read_json(out)
    assert [name for name, _ in raw["phases"]] == [
        "libraries imported",
        "collators started",
        "model loaded",
        "way put on",
        "epoch 1 ended",
        "adapter saved",
        "epoch 2 ended",
    ]
    times = [seconds for _, seconds in raw["phases"]]
    assert times == sorted(times)
    assert raw["compilation"] == {"graphs": 0, "from_cache": 0}
    # Six rows are one step of the recipe's 32.
    assert [(step["epoch"], step["rows"]) for step in raw["steps"]] == [(0, 6), (1, 6)]
    first, second = (step["loss"] for step in raw["steps"])
    # One step at 2e-4 from an adapter that gives nothing: about the same loss on the same rows.
    assert second == pytest.approx(first, rel=0.05)
    assert all(0 <= step["waited"] < step["seconds"] for step in raw["steps"])


def test_what_is_no_number_is_no_value() -> None:
    assert number(float("nan")) is None
    assert number(None) is None
    assert number(1.5) == 1.5


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"),
    reason="NOT_RUN: this torch cannot run what is compiled eagerly for a while",
)
def test_what_a_process_beside_has_compiled_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way's graphs of a model of one layer are those of all layers: nothing is compiled here.

    The rows are others, of other lengths.
    """
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    # Each process would try every kind of vector instructions, a minute of imports; they are there.
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    way = "unpacked_unmasked_cached"
    spec = WholeSpec(way, STAND_IN, "cpu", 170, 6, 0, 1, 1, True, tmp_path, REFERENCE)
    mode, attention = quantisation_mode("cpu"), _compat.training_attention("cpu")
    model = load_model(STAND_IN, quantisation=mode, attention=attention)
    prepared = prepare(variant(way), model, "cpu")
    rows = [training_messages(row) for row in load_rows("catalogue", "train", limit=7)]
    batches = Batches(STAND_IN, rows, REFERENCE, unmasked=True)
    with compiling.beside(spec) as beside:
        assert beside is not None
        torch._dynamo.reset()
        counters.clear()
        eager = float(step(prepared, [batches([0, 1, 2])])[0])
        assert not counters["stats"]
        until = time.monotonic() + 500
        while not beside.taken_over():
            assert time.monotonic() < until
            time.sleep(0.2)
        assert beside.left is not None, beside.said
        compiled = float(step(prepared, [batches([3, 4, 5, 6])])[0])
    assert compiling.compilation() == {"graphs": 3, "from_cache": 3}
    assert not counters["inductor"]["fxgraph_cache_miss"]
    # Two steps of a trained model on rows it knows.
    assert 0 < compiled < 2 * eager


def test_without_a_process_beside_nothing_is_eager(tmp_path: Path) -> None:
    spec = WholeSpec("published", STAND_IN, "cpu", 170, 6, 0, 1, 1, True, tmp_path, REFERENCE)
    with compiling.beside(spec) as beside:
        assert beside is None
    assert list(tmp_path.iterdir()) == []
