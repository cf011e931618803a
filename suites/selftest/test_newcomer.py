"""A machine of a kind that no golden was observed on: what it is told, and what is committed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.goldens.golden import read_goldens
from harness.records.folders import GOLDEN
from harness.records.record import Failure, Metric, Status, Verdict
from suites.same import newcomer
from suites.same.record import PAGE
from suites.selftest.verdicts import record as a_record

# What a newcomer on another CPU may at most have without a value.
MOST_NOT_RUN = 5
HOW = "emulated by hand"


def committed() -> list[newcomer.Newcomer]:
    paths = sorted((GOLDEN / "power").glob("*/newcomer.json"))
    assert paths
    return [newcomer.read(path) for path in paths]


@pytest.mark.parametrize("one", committed(), ids=lambda one: one.device_key)
def test_a_newcomer_is_told_nothing_wrong_and_hardly_anything_is_not_run(
    one: newcomer.Newcomer,
) -> None:
    assert one.device_key not in {golden.device_key for golden in read_goldens()}
    assert one.red == ()
    assert len(one.not_run) == one.count(Verdict.NOT_RUN) <= MOST_NOT_RUN
    # Silence over nothing would be easy: each of rungs 2 to 10 has values that are as they should.
    rungs = [rung for rung in one.verdicts if one.verdicts[rung].get(Verdict.SAME.value)]
    assert {"text", "ids", "images", "labels", "model", "inputs"} < {*rungs}
    assert {"forward", "backward", "update"} < {*rungs}


@pytest.mark.parametrize("one", committed(), ids=lambda one: one.device_key)
def test_the_page_is_the_one_of_the_record(one: newcomer.Newcomer) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert newcomer.section(one) in text
    assert newcomer.on_page(text, one) == text
    assert newcomer.on_page("# A page\n", one) == f"# A page\n\n{newcomer.section(one)}\n"


def test_what_is_wrong_there_is_said() -> None:
    """A rung that ended in an error and a value that could not be measured, on an arm64 machine."""
    probe = Metric("ids", "probe", status=Status.BROKEN, failure=Failure("OSError", "gone", ""))
    broken = a_record("ids", probe)
    there = replace(broken.provenance, device_key="cpu-aarch64-default", stack="latest")
    one = newcomer.summarised({"ids": replace(broken, provenance=there)}, HOW)
    assert one.device_key == "cpu-aarch64-default"
    assert "ids.probe" in one.red
    assert {*one.verdicts} == {"ids"}
    assert one.not_run
    assert all(finding.startswith("ids.") for finding in one.not_run)
    assert "ids.probe" in newcomer.section(one)


def test_records_of_two_machines_are_no_newcomers() -> None:
    one, other = a_record("ids"), a_record("text")
    other = replace(other, provenance=replace(other.provenance, device_key="cpu-aarch64-default"))
    with pytest.raises(ValueError, match="one machine"):
        newcomer.summarised({"ids": one, "text": other}, HOW)


def test_how_it_was_obtained_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="measured or emulated"):
        newcomer.summarised({"ids": a_record("ids")}, "on a laptop")
