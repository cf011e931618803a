"""`harness golden list`: every band with its limit, and what nothing reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.goldens.golden import (
    Band,
    BandKind,
    Golden,
    observed_path,
    truth_path,
    write_golden,
)
from harness.judging.goldens.listing import Stray, listed, stray
from suites.commands import Command

TRUTH = Golden(
    "forward", "qwen2_vl", "loss", "truth", "hand", "why", {"": 1.0}, Band(BandKind.RELATIVE, 1e-5)
)


def test_the_committed_goldens_are_all_used(harness: Command) -> None:
    ended = harness("golden", "list", "--json")
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["stray"] == []
    assert not any(row["unused"] for row in document["goldens"])
    row = next(r for r in document["goldens"] if r["band"] == "relative" and r["limit"])
    assert f"relative {row['limit']:g}, from" in ended.stderr


def test_no_goldens_are_not_green(harness: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that lost them would judge nothing."""
    monkeypatch.setattr("harness.commands.golden.listed", tuple)
    monkeypatch.setattr("harness.commands.golden.stray", tuple)
    ended = harness("golden", "list")
    assert ended.code == 3
    assert "no golden" in ended.sentence


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"metric": "loss_of_old_days"}, "no probe measures forward.loss_of_old_days"),
        ({"rung": "backwards"}, "no probe measures backwards.loss"),
        ({"family": "llava"}, "there is no model family llava"),
        (
            {"kind": "observed", "stack": "gone", "device_key": "cpu-x"},
            "no stack gone is committed",
        ),
    ],
)
def test_a_golden_that_nothing_reads_is_flagged(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    golden = replace(TRUTH, **changes)
    place = (golden.rung, golden.family, golden.metric)
    path = truth_path(*place, root=tmp_path)
    if golden.kind == "observed":
        path = observed_path(golden.device_key, golden.stack, *place, root=tmp_path)
    write_golden(golden, path)
    (row,) = listed(tmp_path)
    assert (row.unused, row.why) == (bool(why), why)


def test_a_golden_at_another_address_is_flagged(tmp_path: Path) -> None:
    write_golden(TRUTH, truth_path("update", "qwen2_vl", "loss", root=tmp_path))
    (row,) = listed(tmp_path)
    assert row.why == "its place is truth/forward/qwen2_vl/loss.json"


def test_files_that_nothing_reads_are_named(tmp_path: Path) -> None:
    for name in (
        "truth/forward/notes.txt",
        "expected/reference.json",
        "expected/gone.json",
        "bands/compare.json",
        "bands/kinds.json",
        "bands/other.json",
        "lane/cuda-x/a.json",
        "old.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert stray(tmp_path) == (
        Stray(f"{tmp_path.name}/bands/other.json", "nothing reads it"),
        Stray(f"{tmp_path.name}/expected/gone.json", "no stack gone is committed"),
        Stray(f"{tmp_path.name}/old.json", "nothing reads it"),
        Stray(f"{tmp_path.name}/truth/forward/notes.txt", "nothing reads it"),
    )
