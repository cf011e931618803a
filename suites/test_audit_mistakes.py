"""Every planted mistake is found at its own check, before any other finding."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from harness.judging.audit.advice import Severity, filed
from harness.judging.audit.asking import rungs
from suites import mistakes
from suites.audits import Mistake, audited, known_here, lacks, red


def _mistakes() -> list[Any]:
    """Of every file; what is not fast is slow."""
    parameters = []
    for module in pkgutil.iter_modules(mistakes.__path__):
        if module.name.startswith("_"):
            continue
        for mistake in importlib.import_module(f"{mistakes.__name__}.{module.name}").MISTAKES:
            marks = () if mistake.fast else (pytest.mark.slow,)
            name = f"{module.name}-{mistake.name.replace(' ', '_')}"
            parameters.append(pytest.param(mistake, id=name, marks=marks))
    return parameters


@pytest.mark.parametrize("mistake", _mistakes())
def test_found(mistake: Mistake, tmp_path: Path) -> None:
    """Its check is the first finding; what follows from it may be red too. What only the user can
    say is asked, and nothing is red."""
    source = mistake.source()
    lack = lacks(source)
    if lack:
        pytest.skip(f"NOT_RUN: {mistake.training} {lack}")
    path = tmp_path / f"{mistake.training}.py"
    path.write_text(source, encoding="utf-8")
    walked = rungs()[: rungs().index(mistake.rung) + 1]
    _, judgement = audited(path, tmp_path / "out", walked, loss_on=mistake.loss_on)
    rung, name = mistake.finds.split(".", 1)
    if filed(rung)[name].severity is Severity.QUESTION:
        assert mistake.finds in [item.check.metric_id for item in judgement.questions]
        assert [f for f in red(judgement) if f not in known_here()] == []
    else:
        known = [f for f in known_here() if f != mistake.finds]
        others = [f for f in red(judgement) if f not in known]
        assert others[:1] == [mistake.finds]
