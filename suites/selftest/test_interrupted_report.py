"""`harness report` on a run that was interrupted: what is missing is no part of a probe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.records.files import write_json
from harness.records.record import RUNGS, Metric, Provenance, Record, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = Provenance(
        "mine",
        "stand-in",
        "catalogue",
        "cpu-x",
        "r",
        "s",
        {"torch": "2"},
        vocabulary="stand-in",
        family="qwen2_vl",
    )
    for rung in RUNGS[:12]:
        # One value that a committed truth knows: something was compared.
        metric = Metric("forward", "trained_tokens", "left", 27) if rung == "forward" else None
        write_record(Record(rung, place, (metric,) if metric else (), 1.0), tmp_path / "run")
    return tmp_path / "run"


def test_an_interrupted_run_misses_its_later_rungs(harness: Command, folder: Path) -> None:
    write_json(folder / "work" / "context.json", {"exchange": ""})
    ended = harness("report", folder, "--json")
    report = json.loads(ended.stdout)["reports"][0]
    assert report["unmeasured"] == ["generation", "cost"]
    assert "interrupted, no record of generation, cost" in report["headline"]
    assert "only" not in report["headline"]
    assert ended.code in {1, 3}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "interrupted, no record of generation, cost" in page


def test_nothing_else_is_taken_for_an_interrupted_run(harness: Command, folder: Path) -> None:
    """A probe's folder, a whole run's, and a comparison's side."""

    def headline() -> str:
        ended = harness("report", folder, "--json")
        report = json.loads(ended.stdout)["reports"][0]
        assert report["unmeasured"] == []
        return str(report["headline"])

    assert "trajectory only" in headline()
    write_json(folder / "work" / "context.json", {"exchange": "keep"})
    assert "trajectory only" in headline()
    write_json(folder / "work" / "context.json", {"exchange": ""})
    write_json(folder.parent / "plan.json", {})
    assert "trajectory only" in headline()
    (folder.parent / "plan.json").unlink()
    write_json(folder / "run.json", {})
    assert "trajectory only" in headline()


def test_a_damaged_context_is_named(harness: Command, folder: Path) -> None:
    write_json(folder / "work" / "context.json", [])
    ended = harness("report", folder)
    assert ended.code == 2
    assert "context.json holds no JSON object" in ended.sentence
