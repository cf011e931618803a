"""`harness audit` over the trainings of suites/trainings: silent where they are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.audits import TRAININGS, audited, red

CLEAN = sorted(path.stem for path in TRAININGS.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", CLEAN)
def test_clean(name: str, tmp_path: Path) -> None:
    """A training as its authors meant it raises nothing."""
    _, judgement = audited(TRAININGS / f"{name}.py", tmp_path)
    assert red(judgement) == []
    assert judgement.exit_code == 0
