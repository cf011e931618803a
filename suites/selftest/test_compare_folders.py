"""`harness compare` on folders of records, and what a refused one leaves: nothing in the way."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import build_parser
from harness.commands.compare import spec_of
from harness.errors import BadInput, StackBroken
from harness.judging.compare.document import read_comparison
from harness.judging.compare.plan import asked_of, resume_command
from harness.records.files import read_object, write_json
from harness.records.record import Metric, Provenance, Record, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")

PLACE = Provenance(
    "reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2"}, family="qwen2_vl"
)


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

    monkeypatch.setattr("harness.judging.compare.preparing.environment_for", environment)
    monkeypatch.setattr("harness.judging.compare.preparing.is_built", lambda text: True)
    monkeypatch.setattr("harness.judging.workers.resolve.resolve_model", resolve)
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

    monkeypatch.setattr("harness.judging.compare.preparing.environment_for", environment)
    monkeypatch.setattr("harness.judging.compare.preparing.is_built", lambda text: True)
    (tmp_path / "file").write_text("")
    ended = harness("compare", old, "latest", "--out", tmp_path / "file" / "out")
    assert ended.code == 2
    assert f"{tmp_path / 'file' / 'out'} cannot be written" in ended.sentence


def test_a_rung_that_was_asked_for_and_neither_folder_holds_is_missing(
    harness: Command, old: Path, tmp_path: Path
) -> None:
    same, out = folder(tmp_path / "same", 1.0), tmp_path / "out"
    assert harness("compare", old, same, "--out", out).code == 0
    ended = harness("compare", old, same, "--rungs", "text,cost", "--out", tmp_path / "asked")
    assert ended.code == 3
    missing = read_object(tmp_path / "asked" / "comparison.json")["missing"]
    reason = "OLD and NEW left no record of it"
    assert missing == [{"rung": "cost", "reason": reason, "sides": ["OLD", "NEW"]}]
    assert "1 not compared" in ended.stderr


def test_rungs_given_twice_are_all_compared(harness: Command, old: Path, tmp_path: Path) -> None:
    same, out = folder(tmp_path / "same", 1.0), tmp_path / "out"
    words = ("compare", old, same, "--rungs", "text", "--rungs", "3", "--out", out)
    assert harness(*words).code == 0
    assert read_object(out / "comparison.json")["rungs"] == ["text", "ids"]


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "stand-in"],
        ["--data", "catalogue"],
        ["--device", "cuda"],
        ["--threads", "2"],
        ["--limit", "5"],
        ["--offline"],
    ],
)
def test_what_two_folders_have_no_use_for_is_refused(
    harness: Command, old: Path, new: Path, tmp_path: Path, words: list[str]
) -> None:
    ended = harness("compare", old, new, *words, "--out", tmp_path / "out")
    assert ended.code == 2
    assert f"{words[0]} does nothing between two folders of records" in ended.sentence
    assert not (tmp_path / "out").exists()


def test_a_variable_is_no_option(
    harness: Command, old: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_MODEL", "/my/model")
    assert harness("compare", old, new, "--out", tmp_path / "out").code == 1


def test_folders_are_named_wherever_sides_are(
    harness: Command, old: Path, new: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = harness("compare", old, new, "--out", out)
    assert "before/ (reference) → after/ (reference) on cpu-x" in ended.stderr
    document = read_object(out / "comparison.json")
    # What the records say of themselves stays where other tools look for it.
    assert (document["old"], document["new"]) == ("reference", "reference")
    assert (document["old_given"], document["new_given"]) == (str(old), str(new))
    assert "before/ (reference) → after/ (reference)" in document["headline"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for side, name in (("OLD", "before"), ("NEW", "after")):
        assert f"{side}: {name}/ (reference)" in page
        # The whole path stands once, under the packages.
        assert str(tmp_path / name) in page


def test_packages_of_folders_are_not_bisected(
    harness: Command, old: Path, new: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    harness("compare", old, new, "--out", out)
    ended = harness("bisect", "--from-compare", out)
    assert ended.code == 2
    assert "compares directories of records" in ended.sentence


def test_a_stack_with_a_wheel_is_no_folder(tmp_path: Path) -> None:
    wheel = "reference,./x-1-py3-none-any.whl"
    write_json(
        tmp_path / "comparison.json",
        {
            "schema": 1,
            "old": "reference",
            "new": wheel,
            "old_given": "reference",
            "new_given": wheel,
            "packages": {},
            "findings": [],
            "facts": {
                "model": "stand-in",
                "data": "catalogue",
                "model_digest": "m",
                "device_key": "cpu-x",
            },
        },
    )
    assert not read_comparison(tmp_path).between_directories


def test_the_command_that_goes_on_asks_the_same_question(tmp_path: Path) -> None:
    """Else the resume would be refused as another one's."""
    words = ["compare", "a b/", "latest", "--rungs", "text", "--rungs", "3", "--device", "cpu"]
    first = spec_of(build_parser().parse_args(words))
    again = spec_of(build_parser().parse_args(shlex.split(resume_command(first, tmp_path))[1:]))
    assert again.resume == str(tmp_path)
    assert asked_of(again) == asked_of(first)
    assert asked_of(first).rungs == ("text", "ids")
    assert asked_of(first).device == "cpu"
