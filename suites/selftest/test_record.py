"""Records survive a round trip, refuse nonsense, and are never half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput, OutOfSpace
from harness.record import (
    Direction,
    How,
    Metric,
    Provenance,
    Record,
    from_json,
    read_record,
    read_records,
    to_json,
    write_atomically,
    write_record,
)
from harness.recorder import Recorder, read_tensors

PROVENANCE = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2.4.0"})

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(scalars | numbers, lambda x: st.lists(x, max_size=3), max_leaves=5)


@given(values, st.sampled_from(list(How)), st.sampled_from(list(Direction)))
def test_a_record_survives_json(value: object, how: How, direction: Direction) -> None:
    metric = Metric("text", "rendered", "case", value, "text", how, direction)  # type: ignore[arg-type]
    record = Record("text", PROVENANCE, (metric,), 1.5)
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_non_finite_numbers_are_refused(bad: object, tmp_path: Path) -> None:
    record = Record("text", PROVENANCE, (Metric("text", "x", value=bad),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="record a status"):
        write_record(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_schema_is_one_sentence(tmp_path: Path) -> None:
    path = write_record(Record("text", PROVENANCE, ()), tmp_path)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "schema": 99}))
    with pytest.raises(BadInput, match=r"schema 99.*measure again"):
        read_record(path)


def test_a_missing_field_names_the_file(tmp_path: Path) -> None:
    path = write_record(Record("text", PROVENANCE, ()), tmp_path)
    raw = json.loads(path.read_text())
    del raw["metrics"]
    path.write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=str(path)):
        read_record(path)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no records"):
        read_records(tmp_path)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.json"
    write_atomically(target, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace, match="--resume"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_recorder_refuses_a_finding_twice_and_keeps_errors() -> None:
    recorder = Recorder("text")
    recorder.add("a", 1)
    with pytest.raises(ValueError, match="twice"):
        recorder.add("a", 2)
    result, metric = recorder.attempt("b", lambda: int("x"))
    assert result is None
    assert metric is not None
    assert metric.failure is not None
    assert metric.failure.type == "ValueError"


def test_tensors_lie_beside_the_record(tmp_path: Path) -> None:
    recorder = Recorder("images")
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    metric = recorder.tensor("pixels", data, case="a")
    recorder.tensor("large", data, store=False)
    recorder.finish(PROVENANCE, tmp_path)
    stored = read_tensors(tmp_path, "images")
    assert list(stored) == ["pixels.a"]
    np.testing.assert_array_equal(stored["pixels.a"], data)
    assert isinstance(metric.value, dict)
    assert metric.value["shape"] == [2, 3]
