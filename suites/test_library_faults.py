"""A defect in a library itself: one line changed in a wheel is reported at its own rung.

Slow: every fault builds an environment around a wheel of its own. OLD is the reference stack,
measured once; NEW is the same with the edited wheel.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from harness.cli import main
from harness.judging.environments.build import environment_for
from harness.judging.environments.installed import installed_stack
from harness.records.files import read_json
from suites.faults.wheels import PLANTED, Planted, edited_wheel

RUNGS = "2-5,7,8,10,11"


@pytest.fixture(scope="session")
def site() -> Path:
    """The reference stack's site-packages: this interpreter's, or those of one built for it."""
    if installed_stack() == "reference":
        return Path(sysconfig.get_path("purelib"))
    python = environment_for("reference")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return python.parent.parent / "lib" / version / "site-packages"


@pytest.fixture(scope="session")
def reference_records(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Path:
    """The reference stack's records of every rung that a fault needs."""
    out = tmp_path_factory.mktemp("reference")
    rungs = ["text", "ids", "images", "labels", "inputs", "forward", "update", "trajectory"]
    assert main(["probe", *rungs, "--stack", "reference", "--out", str(out), "--threads", "1"]) == 0
    return out


@pytest.mark.skipif(installed_stack() != "reference", reason="NOT_RUN: reference files are edited")
def test_the_edits_still_fit(site: Path) -> None:
    for planted in PLANTED:
        text = (site / planted.file).read_text(encoding="utf-8")
        assert planted.old in text, planted.name


@pytest.mark.slow
@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.name.split(":")[0])
def test_a_defect_in_a_wheel_is_reported_at_its_own_rung(
    planted: Planted, site: Path, reference_records: Path, tmp_path: Path
) -> None:
    wheel = edited_wheel(site, planted, tmp_path / "wheels")
    out = tmp_path / "comparison"
    code = main(
        [
            "compare",
            str(reference_records),
            f"reference,{wheel}",
            "--rungs",
            planted.rungs,
            "--out",
            str(out),
            "--threads",
            "1",
        ]
    )
    assert code == 1
    document = read_json(out / "comparison.json")
    own = [f for f in document["findings"] if not f["cause"]]
    assert own, document["headline"]
    assert own[0]["rung"] == planted.rung
    assert any(f["id"] == planted.finds or f["id"].startswith(f"{planted.finds}.") for f in own)
    # No known change is the reason: the versions on both sides are the same.
    assert not any(f["known"] for f in own)
    assert document["packages"] == {}
