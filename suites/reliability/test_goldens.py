"""Goldens: several are written as one set, never in CI, never outside their folder."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.goldens.golden import (
    Golden,
    observed_path,
    read_golden,
    read_goldens,
    write_goldens,
)
from harness.judging.goldens.observe import refuse_in_ci
from harness.records.files import TEMPORARY
from harness.records.folders import GOLDEN as COMMITTED
from harness.records.sets import JOURNAL, alone_with
from suites.commands import Command
from suites.reliability.counts import count
from suites.reliability.damage import flip
from suites.reliability.killed import kill_after

GOLDEN = Golden("text", "family", "metric", "observed", "made up", "a test", {"": 0})


def write_set(root: Path, value: int, files: int = 12) -> None:
    goldens = {
        root / "observed" / f"{i}.json": replace(GOLDEN, metric=f"m{i}", cases={"": value})
        for i in range(files)
    }
    with alone_with(root):
        write_goldens(goldens, root)


@pytest.mark.slow
def test_a_killed_update_leaves_all_or_none(tmp_path: Path, tried: Any) -> None:
    tried(count(20, 200))
    write_set(tmp_path, 0)
    dice = random.Random(5)
    values = iter(range(1, 10**9))
    for _ in range(count(20, 200)):
        first = next(values) * 10**6
        numbers = iter(range(first, first + 10**6))
        kill_after(lambda numbers=numbers: write_set(tmp_path, next(numbers)), dice.random() * 0.05)
        cases = [golden.cases[""] for golden in read_goldens(tmp_path)]
        assert len(cases) == 12
        assert len(set(cases)) == 1, cases
    write_set(tmp_path, 1)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(TEMPORARY)]
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize(
    "raw", ["[]", "{}", "x", '{"files": 5}', '{"files": {"../x.json": {}}}', '{"files": {"a": 5}}']
)
def test_a_damaged_journal_is_refused_by_name(tmp_path: Path, raw: str) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / JOURNAL).write_text(raw)
    with pytest.raises(BadInput, match=JOURNAL):
        read_goldens(tmp_path / "golden")
    assert not (tmp_path / "x.json").exists()


STACKS = [
    "reference,/../../../x",
    "../x",
    "/tmp/x",
    "..",
    ".",
    "",
    ".hidden",
    "reference,./a.whl",
    "a\\b",
    "a\0b",
]


@pytest.mark.parametrize("stack", STACKS, ids=range(len(STACKS)))
def test_no_name_leads_out_of_the_folder(tmp_path: Path, stack: str) -> None:
    for place in range(5):
        names = ["cpu-x", "reference", "text", "family", "metric"]
        names[place] = stack
        with pytest.raises(BadInput, match="none of a file"):
            observed_path(*names, root=tmp_path)
    with pytest.raises(BadInput, match="outside"):
        write_goldens({tmp_path / ".." / "x.json": GOLDEN}, tmp_path)
    plain = observed_path("cpu-x", "reference,peft==0.14.0", "text", "f", "m", root=tmp_path)
    assert plain.is_relative_to(tmp_path)


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_goldens_are_not_written_in_ci(
    harness: Command, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("CI", value)
    for verb in (["update", "text.m", "--reason", "why"], ["calibrate", "text.m"]):
        ended = harness("golden", *verb)
        assert ended.code == 2
        assert "not written in CI" in ended.sentence
    for unset in ("", "0", "false"):
        monkeypatch.setenv("CI", unset)
        refuse_in_ci()


def test_no_flipped_bit_of_a_golden_goes_unnoticed(tmp_path: Path, tried: Any) -> None:
    """Of committed ones of each kind: refused, or it says the same."""
    paths = [*COMMITTED.glob("truth/**/*.json"), *COMMITTED.glob("observed/**/*.json")]
    dice = random.Random(7)
    refused = 0
    tried(count(100, 300))
    for _ in range(count(100, 300)):
        path = dice.choice(paths)
        meant = read_golden(path)
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        flip(copy, dice.randrange(copy.stat().st_size))
        try:
            assert read_golden(copy) == replace(meant, path=str(copy)), path
        except BadInput as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
    assert refused > 30
