"""`harness audit` over the trainings of suites/trainings: silent where they are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.audits import TRAININGS, audited, known_here, lacks, red

CLEAN = sorted(path.stem for path in TRAININGS.glob("*.py") if path.stem != "__init__")
# Each takes up to a minute; one is enough for the test command.
FAST = {"plain_trainer"}


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in CLEAN]
)
def test_clean(name: str, tmp_path: Path) -> None:
    """A training as its authors meant it raises nothing but what its library does wrong."""
    path = TRAININGS / f"{name}.py"
    lack = lacks(path.read_text("utf-8"))
    if lack:
        pytest.skip(f"NOT_RUN: {name} {lack}")
    _, judgement = audited(path, tmp_path)
    known = known_here()
    assert red(judgement) == known
    assert judgement.exit_code == (1 if known else 0)
