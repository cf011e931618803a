"""Records that were edited or cut, and what lies beside them: one sentence naming the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.record import Metric, Provenance, Record, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")

PROVENANCE = Provenance(
    "reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2.4.0"},
    vocabulary="stand-in",
)  # fmt: skip


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
