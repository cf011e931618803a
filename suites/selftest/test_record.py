"""Records survive a round trip, refuse nonsense, and are never half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput, OutOfSpace
from harness.measuring.instruments.recorder import Recorder
from harness.records.files import read_json, write_atomically, write_json
from harness.records.record import (
    Direction,
    How,
    Metric,
    Provenance,
    Record,
    Status,
    from_json,
    read_record,
    read_records,
    to_json,
    write_record,
)
from harness.records.seals import sealed
from harness.records.tensors import read_tensors

PROVENANCE = Provenance(
    "reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2.4.0"}, family="qwen2_vl"
)

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(scalars | numbers, lambda x: st.lists(x, max_size=3), max_leaves=5)


@given(values, st.sampled_from(list(How)), st.sampled_from(list(Direction)))
def test_a_record_survives_json(value: object, how: How, direction: Direction) -> None:
    metric = Metric("text", "rendered", "case", value, "text", how, direction)  # type: ignore[arg-type]
    record = Record("text", PROVENANCE, (metric,), 1.5)
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_a_measured_value_that_is_no_finite_number_is_broken(bad: Any, tmp_path: Path) -> None:
    """A base of frequencies that are nothing was infinite, and ended a run without a verdict."""
    recorder = Recorder("forward")
    recorder.add("rotary_base", bad, case="tower")
    recorder.add("loss", 1.0, samples=(1.0, float("nan")))
    recorder.add("gap", 1.0)
    write_record(recorder.finish(PROVENANCE, tmp_path), tmp_path)
    base, loss, gap = read_record(tmp_path / "forward.json").metrics
    assert (base.status, loss.status, gap.status) == (Status.BROKEN, Status.BROKEN, Status.OK)
    assert base.failure is not None
    shown = bad[-1] if isinstance(bad, list) else bad
    assert base.failure.message == f"its value is {shown}, no finite number"


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
    with pytest.raises(OutOfSpace, match="free some space, then go on"):
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


def test_where_an_object_lay_is_no_part_of_its_error() -> None:
    """Two runs of the same have the same record."""
    recorder = Recorder("forward")

    def refuse() -> None:
        raise ValueError(f"no list of pictures: [{object()!r}], 0x1F of 2")

    _, metric = recorder.attempt("plain_loss", refuse)
    assert metric is not None
    assert metric.failure is not None
    assert metric.failure.message == "no list of pictures: [<object object at 0x…>], 0x1F of 2"


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


METRIC = {
    "rung": "text",
    "name": "length",
    "case": "a",
    "value": 1.5,
    "how": "measured",
    "direction": "none",
    "status": "OK",
    "samples": [1.0],
}
PLACE = {
    "stack": "reference",
    "model": "stand-in",
    "data": "catalogue",
    "device_key": "cpu-x",
    "recipe": "r",
    "samples": "s",
    "versions": {"torch": "2.4.0"},
}
WHOLE: dict[str, Any] = {
    "schema": 1,
    "rung": "text",
    "seconds": 1.0,
    "provenance": PLACE,
    "metrics": [METRIC],
}


def metric(**changes: Any) -> dict[str, Any]:
    return {**WHOLE, "metrics": [{**METRIC, **changes}]}


def place(**changes: Any) -> dict[str, Any]:
    return {**WHOLE, "provenance": {**PLACE, **changes}}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({**WHOLE, "metrics": [None]}, r"metrics\[0\] is null, no object"),
        ({**WHOLE, "metrics": None}, "metrics is null, no list"),
        ({**WHOLE, "seconds": None}, "seconds is null, not a number"),
        ({**WHOLE, "seconds": float("nan")}, "seconds is nan"),
        ({**WHOLE, "provenance": []}, r"provenance is \[\], no object"),
        ({**WHOLE, "more": 1}, "more is no field of it"),
        ([], r"it is \[\], no object"),
        (None, "it is null, no object"),
        (place(versions=None), "provenance.versions is null, no object"),
        (place(versions={"torch": 2}), "provenance.versions.torch is 2, not a text"),
        (place(stack=None), "provenance.stack is null, not a text"),
        (place(device_key=5), "provenance.device_key is 5, not a text"),
        (place(faults=None), "provenance.faults is null, no list"),
        (place(seed=True), "provenance.seed is True, not a whole number"),
        (metric(status="FINE"), r"metrics\[0\].status is 'FINE', not one of OK, BROKEN, NOT_RUN"),
        (metric(how=[]), r"metrics\[0\].how is \[\], not one of"),
        (metric(samples=["x"]), r"metrics\[0\].samples\[0\] is 'x', not a number"),
        (metric(failure={"type": "E"}), r"metrics\[0\].failure.message is missing"),
        (metric(value=float("nan")), r"metrics\[0\].value is nan"),
        (metric(value={"a": [float("inf")]}), r"metrics\[0\].value is inf"),
        (metric(value=10**400), "value is too large"),
        (metric(rung="ids"), "ids.length.a is of another rung than text"),
        ({**WHOLE, "metrics": [METRIC, METRIC]}, "text.length.a is there twice"),
        ({**WHOLE, "rung": "ids", "metrics": []}, "its rung is 'ids'"),
    ],
)
def test_what_was_edited_or_cut_is_no_complete_record(tmp_path: Path, raw: Any, why: str) -> None:
    path = tmp_path / "text.json"
    path.write_text(json.dumps(sealed(WHOLE)))
    assert read_record(path).metrics[0].value == 1.5
    path.write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=f"text.json is not a complete record .*{why}"):
        read_record(path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "1" * 5000, '{"a": 1', "\0", ""],
    ids=["deep", "long number", "cut", "binary", "empty"],
)
def test_what_is_no_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"text\.json is not readable JSON"):
        read_record(path)


def test_half_a_surrogate_pair_survives_a_file(tmp_path: Path) -> None:
    """As in the name of a folder that is no UTF-8."""
    write_json(tmp_path / "x.json", {"path": "caf\udce9"})
    assert read_json(tmp_path / "x.json") == {"path": "caf\udce9"}
