"""Two runs on one machine give identical records, except for times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.judging.workers.measure import measure
from harness.records.context import Context
from harness.records.record import Record, to_json

RUNGS = ("text", "ids", "labels", "model", "inputs", "forward", "backward", "update")


def lasting(record: Record) -> dict[str, Any]:
    """The record without what differs by nature: its own duration and volatile metrics."""
    raw = to_json(replace(record, seconds=0.0))
    raw["metrics"] = [m for m in raw["metrics"] if not m["volatile"]]
    return raw


@pytest.mark.slow
def test_two_processes_leave_equal_records(context: Context, tmp_path: Path) -> None:
    runs = [measure(replace(context, out=tmp_path / name), RUNGS) for name in ("one", "two")]
    for rung in RUNGS:
        assert lasting(runs[0][rung]) == lasting(runs[1][rung]), rung
        tensors = [tmp_path / name / f"{rung}.safetensors" for name in ("one", "two")]
        contents = {p.read_bytes() for p in tensors if p.is_file()}
        assert len(contents) <= 1, rung
