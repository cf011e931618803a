"""Objects that several suites share, loaded once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.records.context import Context
from suites.commands import Command, Ended


@pytest.fixture(scope="session")
def processor(context: Context) -> Any:
    """The stack's processor of the model in use, with its own defaults."""
    from harness.measuring.models import family

    return family(context.family).load_processor(context.snapshot)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has set nothing: the suites' own model must not decide these tests."""
    for name in [n for n in os.environ if n.startswith(("HF_", "HARNESS_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def harness(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process; what it starts to look up a model is a real child."""

    def command(*words: str | Path) -> Ended:
        try:
            code = main([str(word) for word in words])
        except SystemExit as left:
            code = int(str(left.code))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command
