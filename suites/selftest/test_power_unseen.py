"""What a verdict says of faults that were planted for code that had not seen them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import Damaged
from harness.judging.goldens.power import unseen
from harness.judging.goldens.verdicts import judge
from harness.judging.report.html.sections import verdict_banner
from harness.judging.report.run.terminal import terminal
from harness.records.power import Worth
from harness.records.seals import write_sealed
from harness.records.trial import read_trial
from suites.selftest.verdicts import golden, loss, record


def test_the_figure_of_unseen_faults_moves_with_the_trial_and_stands_beside_the_seen(
    tmp_path: Path,
) -> None:
    """Of each half and kind some, of which only the second half's are told."""
    assert read_trial(tmp_path) is None
    facts = {"name": "n", "library": "", "stack": "latest"}
    outcomes = [
        ("planted", "before", "update", "update"),
        ("planted", "after", "update", "update"),
        ("wheel", "after", "update", "forward"),
        ("planted", "after", "update", ""),
        ("release", "after", "model", "model"),
    ]
    names = ("kind", "half", "expected", "found")
    tried = [{**facts, **dict(zip(names, each, strict=True))} for each in outcomes]
    path = tmp_path / "power" / "trial.json"
    path.parent.mkdir()
    write_sealed(path, {"schema": 2, "device_key": "cpu-x", "tried": tried})
    trial = read_trial(tmp_path)
    told = (
        "Of 3 faults planted for code that had not seen them (in the stand-in, on latest) 2 were "
    )
    told += "found, 1 at their own rung; of 1 changes of the libraries 1, 1 at their own"
    assert unseen(trial).startswith(told)
    assert unseen(None) == ""
    judgement = replace(
        judge({"forward": record("forward", loss(1))}, (golden(1),), []), worth=Worth(), trial=trial
    )
    out = io.StringIO()
    terminal(judgement, Console(file=out, width=3000))
    assert told in out.getvalue()
    line = verdict_banner(judgement).split("<details", 1)[0]
    assert told in line
    assert "would have seen was not measured" in line
    path.write_text(path.read_text().replace('"found": ""', '"found": "update"'))
    with pytest.raises(Damaged):
        read_trial(tmp_path)


def test_the_committed_trial_is_told() -> None:
    trial = read_trial()
    assert trial is not None
    own, seen, tried = trial.share(releases=False)
    assert 0 < own <= seen <= tried
    assert f"Of {tried} faults" in unseen(trial)
