"""`harness matrix` with real cells: each is `harness probe` of its stack, measured once."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.judging.environments.installed import installed_stack
from harness.judging.matrix.kept import State
from harness.judging.matrix.table import read_table
from harness.measuring.snapshots.source import STAND_IN
from suites.audits import TRAININGS, lacks
from suites.commands import process

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]


def test_two_families_on_this_stack(tmp_path: Path) -> None:
    variables = {"HARNESS_CACHE": str(tmp_path / "cache")}
    words = ["matrix", "--stack", "current", "--family", "qwen2_vl", "--family", "idefics3"]
    words += ["--rungs", "text,ids", "--metric", "text.rendered.korean", "--workers", "1", "--json"]
    junit = tmp_path / "junit.xml"
    first = process(*words, "--junit", str(junit), "--out", str(tmp_path / "one"), **variables)
    table = read_table(tmp_path / "one")
    assert table.stacks == (installed_stack(),)
    qwen, idefics = table.cells
    assert (qwen.state, bool(qwen.right)) == (State.MEASURED, True)
    if installed_stack() == "reference":
        # Idefics3 came with 4.46: a row that runs nowhere is never green.
        assert idefics.state is State.NOT_RUN
        assert "needs transformers" in idefics.reason
        assert first.code in {1, 3}, first.stderr
    else:
        assert (idefics.state, bool(idefics.right)) == (State.MEASURED, True)
        assert first.code in {0, 1}, first.stderr
    assert [len(line.points) for line in table.timelines] == [1, 1]
    assert json.loads(first.stdout)["exit_code"] == first.code == table.exit_code
    assert "measured qwen2_vl on" in first.stderr
    again = process(*words, "--out", str(tmp_path / "two"), **variables)
    assert "measured" not in again.stderr
    assert again.code == first.code
    for name in ("index.html", "matrix.md", "matrix.json"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two, name
    names = [case.get("name") for case in ElementTree.parse(junit).iter("testcase")]
    assert names[:2] == [f"{family} on {installed_stack()}" for family in ("qwen2_vl", "idefics3")]
    page = (tmp_path / "one" / "index.html").read_text()
    assert "text.rendered.korean of idefics3" in page


def test_own_trainings_on_this_stack(tmp_path: Path) -> None:
    """Each by its file: the one that asks for its prompts is wrong where an audit finds it."""
    plain = TRAININGS / "plain_trainer.py"
    text = plain.read_text("utf-8")
    if lack := lacks(text):
        pytest.skip(f"NOT_RUN: {plain.stem} {lack}")
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(text.replace("labels[row, : start + length] = -100", "pass"), "utf-8")
    words = ["matrix", "--stack", "current", "--rungs", "text,labels", "--json"]
    words += ["--training", str(plain), "--training", str(mistaken), "--out", str(tmp_path / "out")]
    variables = {"HARNESS_CACHE": str(tmp_path / "cache"), "MODEL": str(STAND_IN)}
    done = process(*words, **variables)
    right, wrong = read_table(tmp_path / "out").cells
    assert done.code == 1, done.stderr
    assert (right.trains, wrong.trains) == ("rightly", "wrongly")
    assert wrong.first_wrong == "labels"
    assert "2 trainings: 1 of 2 cells right, 1 unexpectedly wrong" in done.stderr
    assert process(*words, **variables).stderr.count("measured") == 0
