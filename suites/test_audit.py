"""`harness audit` over the trainings of suites/trainings: silent where they are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.audits import TRAININGS, audited, lacks, red

CLEAN = sorted(path.stem for path in TRAININGS.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", CLEAN)
def test_clean(name: str, tmp_path: Path) -> None:
    """A training as its authors meant it raises nothing."""
    path = TRAININGS / f"{name}.py"
    lack = lacks(path.read_text("utf-8"))
    if lack:
        pytest.skip(f"NOT_RUN: {name} {lack}")
    _, judgement = audited(path, tmp_path)
    assert red(judgement) == []
    assert judgement.exit_code == 0
