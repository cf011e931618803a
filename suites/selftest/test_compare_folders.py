"""`harness compare` on folders of records, and what a refused one leaves: nothing in the way."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, StackBroken
from harness.record import Metric, Provenance, Record, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")

PLACE = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2"})


def folder(path: Path, value: float, *rungs: str, **changes: Any) -> Path:
    """Records of one value."""
    for rung in rungs or ("text", "ids"):
        record = Record(rung, replace(PLACE, **changes), (Metric(rung, "made_up", value=value),), 1)
        write_record(record, path)
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return folder(tmp_path / "before", 1.0)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return folder(tmp_path / "after", 2.0)


def test_a_refused_comparison_of_folders_can_be_asked_again(
    harness: Command, old: Path, new: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (new / "ids.safetensors").write_bytes(b"cut")
    words = ("compare", old, new, "--out", out)
    assert harness(*words).code == 2
    assert not out.exists()
    (new / "ids.safetensors").unlink()
    assert harness(*words).code == 1


@pytest.mark.parametrize("fails", ["environment", "model"])
def test_a_refused_comparison_of_stacks_can_be_asked_again(
    harness: Command, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def environment(text: str) -> Path:
        if fails == "environment":
            raise StackBroken("The stack cannot be installed.")
        return Path(sys.executable)

    def resolve(*words: object) -> dict[str, object]:
        raise BadInput("There is no model 'x'.")

    monkeypatch.setattr("harness.environments.environment_for", environment)
    monkeypatch.setattr("harness.environments.is_built", lambda text: True)
    monkeypatch.setattr("harness.runner.resolve_model", resolve)
    out = tmp_path / "out"
    for _ in range(2):
        ended = harness("compare", old, "latest", "--out", out)
        assert ended.code == 2
        assert "holds a comparison already" not in ended.sentence
        assert not out.exists()


def test_a_place_that_cannot_be_written_is_said_before_anything_is_built(
    harness: Command, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def environment(text: str) -> Path:
        raise AssertionError("an environment was built")

    monkeypatch.setattr("harness.environments.environment_for", environment)
    monkeypatch.setattr("harness.environments.is_built", lambda text: True)
    (tmp_path / "file").write_text("")
    ended = harness("compare", old, "latest", "--out", tmp_path / "file" / "out")
    assert ended.code == 2
    assert f"{tmp_path / 'file' / 'out'} cannot be written" in ended.sentence
