"""A whole training of the stand-in on a CPU: every row once, every phase in its order."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measuring.lane.whole.__main__ import run
from harness.measuring.lane.whole.clock import number
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
