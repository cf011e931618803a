"""What the commands that measure print and leave is as its committed schema says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suites.audits import TRAININGS, model_of
from suites.commands import process
from suites.documents import files_in, invalid, printed


@pytest.mark.slow
def test_what_measuring_commands_print_and_leave(tmp_path: Path) -> None:
    training = TRAININGS / "plain_trainer.py"
    asked: dict[str, tuple[str | Path, ...]] = {
        "probe": ("probe", "text", "environment"),
        "compare": ("compare", "current", "current", "--rungs", "text,ids"),
        "audit": ("audit", training, "--keep", "--golden", tmp_path / "kept"),
        "run": ("run", "--max-steps", "2"),
    }
    told: list[tuple[str, str, Any]] = []
    for verb, words in asked.items():
        out = tmp_path / verb
        ended = process(*words, "--out", out, "--json", MODEL=str(model_of(training)))
        assert ended.code in {0, 1}, ended.stderr
        told += [printed(ended.stdout, verb), *files_in(out)]
    kinds = {kind.partition("/")[2] for _, kind, _ in told}
    assert {"record", "comparison", "plan", "audit", "audit-rung", "run", "context"} <= kinds
    assert {"supervision", "generations", "seal"} <= kinds
    assert invalid(told) == []
