"""What several selftests begin from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.judging.bisect.answers import Bisection
from harness.judging.environments import stack as stacks
from suites.selftest.bisections import LOSS, VERSIONS, Bench, ask
from suites.selftest.checkouts import PROJECT, git


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one module, committed."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "tiny_thing.py").write_text("SAYS = 'first'\n")
    (folder / ".gitignore").write_text("ignored.txt\nbuild/\n*.egg-info/\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and one stack that installs in a second."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "stacks"
    folder.mkdir()
    (folder / "small.in").write_text("packaging  # recipe\n")
    monkeypatch.setattr(stacks, "STACKS", folder)
    return folder


@pytest.fixture
def bisection() -> Bisection:
    shows = dict(zip(VERSIONS, [1.0, 1.0, 1.0, "<b>2</b>", 2.0, 2.0], strict=True))
    return Bisection(
        package="x",
        good="1.0",
        bad="1.5",
        base="reference",
        releases=tuple(VERSIONS),
        environments=5,
        seconds=12.0,
        options=("--model", "stand-in"),
        findings={"forward.loss": ask(Bench(shows), LOSS)},
    )
