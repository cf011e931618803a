"""Records that were edited or cut, and what lies beside them: one sentence naming the file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from harness.errors import BadInput
from harness.judging.compare.document import read_comparison
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_golden
from harness.records.files import read_object, write_json
from harness.records.record import Metric, Provenance, Record, write_record
from harness.records.seals import write_sealed
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")

PROVENANCE = Provenance(
    "reference",
    "stand-in",
    "catalogue",
    "cpu-x",
    "r",
    "s",
    {"torch": "2.4.0"},
    vocabulary="stand-in",
    family="qwen2_vl",
)


def folder(path: Path, *rungs: str, **changes: Any) -> Path:
    """A folder of records of one metric each, the same in every folder."""
    for rung in rungs or ("text", "ids"):
        metrics = (Metric(rung, "made_up", "a", 1.0), Metric(rung, "made_up", "b", [1, 2]))
        write_record(Record(rung, replace(PROVENANCE, **changes), metrics, 1.0), path)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return folder(tmp_path / "good")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return folder(tmp_path / "bad")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": [None]},
        {"seconds": None},
        {"provenance": {**json.loads(json.dumps(PROVENANCE.__dict__)), "versions": None}},
        {"rung": "ids"},
    ],
    ids=["metric", "seconds", "versions", "rung"],
)
def test_a_damaged_record_is_one_sentence(
    harness: Command, good: Path, bad: Path, changes: dict[str, Any]
) -> None:
    edit(bad / "text.json", **changes)
    ended = harness("report", bad)
    assert ended.code == 2
    assert f"{bad / 'text.json'} is not a complete record" in ended.sentence
    assert not (bad / "report.html").exists()
    out = good.parent / "out"
    ended = harness("compare", good, bad, "--out", out)
    assert ended.code == 2
    assert f"{bad / 'text.json'} is not a complete record" in ended.sentence
    assert not out.exists()


BESIDE = [[], None, 5, {"schema": 99}]


@pytest.mark.parametrize("raw", [[], None, {"context": 5}, {"context": {"scale": []}}])
def test_a_damaged_run_json_is_named(harness: Command, bad: Path, raw: Any) -> None:
    (bad / "run.json").write_text(json.dumps(raw))
    ended = harness("report", bad)
    assert ended.code == 2
    assert str(bad / "run.json") in ended.sentence


def test_a_damaged_training_or_token_map_is_a_reason_on_the_page(
    harness: Command, tmp_path: Path
) -> None:
    whole = folder(tmp_path / "whole", "labels", "trajectory")
    (whole / "training").mkdir()
    (whole / "work" / "labels").mkdir(parents=True)
    for raw in (
        [],
        {},
        {"curve": [1, 2], "spec": [], "notes": []},
        {"curve": [float("nan")] * 3, "spec": {}, "notes": []},
    ):
        (whole / "training" / "run.json").write_text(json.dumps(raw))
        assert harness("report", whole).code in {1, 3}
    (whole / "training" / "run.json").unlink()
    for raw in ([], {}, {"tokens": [5], "sample": 0}, {"tokens": [{}], "sample": "x"}):
        (whole / "work" / "labels" / "supervision.json").write_text(json.dumps(raw))
        ended = harness("report", whole)
        assert ended.code in {1, 3}
        assert "Traceback" not in ended.stderr
        why = r"supervision\.json (is not complete|holds no JSON object)"
        assert re.search(why, (whole / "report.html").read_text())


@pytest.mark.parametrize("raw", [[], None, {}, {"recipe": []}, {"recipe": {"name": "none"}}])
def test_a_damaged_context_is_named(harness: Command, tmp_path: Path, raw: Any) -> None:
    context = tmp_path / "run" / "work" / "context.json"
    context.parent.mkdir(parents=True)
    context.write_text(json.dumps(raw))
    ended = harness("run", "--resume", tmp_path / "run")
    assert ended.code == 2
    assert str(context) in ended.sentence


@pytest.mark.parametrize("raw", [[], None])
def test_a_damaged_plan_is_named(harness: Command, good: Path, bad: Path, raw: Any) -> None:
    (bad / "plan.json").write_text(json.dumps(raw))
    ended = harness("compare", good, bad, "--resume", bad)
    assert ended.code == 2
    assert str(bad / "plan.json") in ended.sentence


def test_truncated_tensors_are_named(harness: Command, good: Path, bad: Path) -> None:
    for side in (good, bad):
        (side / "text.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    ended = harness("compare", good, bad, "--out", good.parent / "out")
    assert ended.code == 2
    assert f"{good / 'text.safetensors'} is not as it was written" in ended.sentence


def test_a_distance_that_is_no_number_is_written_as_none(
    harness: Command, good: Path, bad: Path
) -> None:
    """Of two tensors of which one holds NaN, or of two numbers a float apart."""
    for side, number in ((good, 1.0), (bad, float("nan"))):
        data = np.array([number], dtype=np.float32)
        value = {"digest": str(number), "shape": [1], "dtype": "float32", "key": "t"}
        (side / "text.safetensors").write_bytes(save({"t": data}))
        far = Metric("text", "far", value=1e308 if number == 1.0 else -1e308)
        metrics = (Metric("text", "tensor", value=value), far)
        write_record(Record("text", PROVENANCE, metrics, 1.0), side)
    out = good.parent / "out"
    assert harness("compare", good, bad, "--out", out, "--json").code == 1
    gaps = {f["id"]: f["gap"] for f in read_object(out / "comparison.json")["findings"]}
    assert gaps == {"text.tensor": None, "text.far": None}


def kept(path: Path, raw: Any) -> None:
    """As a person leaves it who edits it and seals it again."""
    (write_sealed if isinstance(raw, dict) else write_json)(path, raw)


GOLDEN = {
    "schema": 1,
    "rung": "text",
    "family": "qwen2_vl",
    "metric": "made_up",
    "kind": "truth",
    "origin": "hand",
    "reason": "why",
    "cases": {"a": 1.0},
    "band": {"kind": "exact"},
}


@pytest.mark.parametrize(
    "raw",
    [
        *BESIDE,
        {**GOLDEN, "cases": []},
        {**GOLDEN, "band": {}},
        {**GOLDEN, "band": None},
        {**GOLDEN, "cases": {"a": "x"}, "band": {"kind": "absolute", "limit": 1}},
    ],
)
def test_a_damaged_golden_is_named(tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "x.json"
    write_sealed(path, GOLDEN)
    assert read_golden(path).cases == {"a": 1.0}
    kept(path, raw)
    with pytest.raises(BadInput, match=re.escape(str(path))) as caught:
        read_golden(path)
    assert "restore it from git" in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        *BESIDE,
        {"schema": 1},
        {"schema": 1, "findings": [None]},
        {"schema": 1, "findings": [{"finding": "a.b", "verdict": "GONE", "reason": "r"}]},
        {
            "schema": 1,
            "findings": [{"finding": "a.b", "verdict": "SAME", "reason": "r", "when": "sundays"}],
        },
    ],
)
def test_a_damaged_list_of_expected_findings_is_named(tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "expected" / "x.json"
    kept(path, raw)
    with pytest.raises(BadInput, match=re.escape(str(path))):
        read_expected("x", tmp_path)


@pytest.mark.parametrize(
    "raw", [*BESIDE, {"schema": 1, "bands": [None], "left_out": []}, {"schema": 1, "bands": []}]
)
def test_damaged_bands_are_named(tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "x.json"
    kept(path, raw)
    with pytest.raises(BadInput, match=re.escape(str(path))):
        read_bands(path)


COMPARED = {
    "schema": 1,
    "old": "reference",
    "new": "latest",
    "packages": {"a": ["1", "2"]},
    "facts": {"model": "stand-in", "data": "catalogue", "model_digest": "m", "device_key": "cpu-x"},
    "findings": [
        {
            "id": "text.a",
            "rung": "text",
            "metric": "a",
            "standing": "",
            "cause": "",
            "accepted": False,
            "old": {"status": "OK"},
            "new": {"status": None},
            "band": {"kind": "exact", "limit": 0.0, "origin": "exact"},
        },
    ],
}


@pytest.mark.parametrize(
    "raw",
    [
        *BESIDE,
        {**COMPARED, "facts": {}},
        {**COMPARED, "packages": {"a": ["1"]}},
        {**COMPARED, "findings": [None]},
        {**COMPARED, "findings": [{**COMPARED["findings"][0], "band": {}}]},
        {k: v for k, v in COMPARED.items() if k != "old"},
    ],
)
def test_a_damaged_comparison_is_named(harness: Command, tmp_path: Path, raw: Any) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(COMPARED))
    assert read_comparison(tmp_path).packages == {"a": ("1", "2")}
    path.write_text(json.dumps(raw))
    ended = harness("bisect", "--from-compare", tmp_path)
    assert ended.code == 2
    assert str(path) in ended.sentence


# A file that is there and cannot be read, for root too.
UNREADABLE = Path("/proc/self/mem")


@pytest.mark.skipif(not UNREADABLE.is_file(), reason="needs Linux's /proc")
def test_an_unreadable_file_cannot_be_read(harness: Command, bad: Path, tmp_path: Path) -> None:
    (bad / "text.json").unlink()
    (bad / "text.json").symlink_to(UNREADABLE)
    ended = harness("report", bad)
    assert ended.code == 2
    assert f"{bad / 'text.json'} cannot be read (" in ended.sentence
    (bad / "text.json").unlink()
    ended = harness("report", bad, "--accept", UNREADABLE)
    assert ended.code == 2
    assert f"{UNREADABLE} cannot be read (" in ended.sentence
