"""A whole matrix on this machine, without its measurements: what is built, kept, dropped, said."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.environments import room
from harness.judging.environments.build import environment_place
from harness.judging.matrix import run
from harness.judging.matrix.forecast import Pace
from harness.judging.matrix.kept import Outcome, State
from harness.judging.matrix.progress import Progress
from harness.judging.matrix.run import Begun, How, begin, measured, table_of
from harness.judging.matrix.spec import MatrixSpec
from harness.records.files import write_json
from suites.selftest.cells import MEASURES, RUNGS, cell, measured_by, prepared, scripted

pytestmark = pytest.mark.usefixtures("no_variables")
SPEC = MatrixSpec(
    ("reference", "reference,peft==0.14.0", "latest"),
    ("tiny:qwen2_vl", "tiny:idefics3"),
    rungs=RUNGS,
)
SIZE = 1 << 20


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, environments of a mebibyte, cells that a script measures."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))

    def build(text: str) -> Path:
        place = environment_place(text)
        place.mkdir(parents=True, exist_ok=True)
        (place / "data").write_bytes(b"x" * SIZE)
        write_json(place / "harness.json", {"stack": text})
        with (tmp_path / "built").open("a") as file:
            file.write(f"{text}\n")
        return Path(sys.executable)

    monkeypatch.setattr(run, "environment_for", build)
    monkeypatch.setattr(run, "probing", scripted(tmp_path))
    monkeypatch.setattr(run, "NEEDED_BYTES", SIZE)
    for each in begin(SPEC, How()).cells:
        prepared(tmp_path, each)
    return tmp_path


def whole(folder: Path, how: How, spec: MatrixSpec = SPEC) -> tuple[Begun, dict[str, Outcome], str]:
    lines: list[str] = []
    begun = begin(spec, how)
    outcomes = measured(begun, folder / "out", lines.append)
    return begun, outcomes, "\n".join(lines)


def built(folder: Path) -> list[str]:
    return (folder / "built").read_text().splitlines()


def test_a_second_matrix_measures_and_builds_nothing(folder: Path) -> None:
    begun, outcomes, told = whole(folder, How(workers=2))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert sorted(measured_by(folder)) == sorted(each.key for each in begun.cells)
    assert built(folder) == list(SPEC.stacks)
    assert "building the environment of latest" in told
    assert "6 of 6: measured" in told
    again, same, told = whole(folder, How(workers=2))
    assert told == ""
    assert same == outcomes
    assert again.todo == ()
    assert len(measured_by(folder)) == len(begun.cells)
    assert built(folder) == list(SPEC.stacks)
    table = table_of(again, same)
    assert [len(row) for row in table.rows] == [3, 3]


def test_a_larger_matrix_measures_what_is_new(folder: Path) -> None:
    small = replace(SPEC, models=("tiny:qwen2_vl",))
    whole(folder, How(workers=2), small)
    assert len(measured_by(folder)) == 3
    whole(folder, How(workers=2))
    assert len(measured_by(folder)) == 6


def test_what_died_is_measured_again_when_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(SPEC, How()).cells[0]
    dies = MEASURES.replace("time.sleep", f"{first.key!r} in part and sys.exit(5)\ntime.sleep")
    monkeypatch.setattr(run, "probing", scripted(folder, dies))
    _, outcomes, told = whole(folder, How(workers=2))
    assert outcomes[first.key].state is State.DIED
    assert "died qwen2_vl on reference (exit code 5" in told
    monkeypatch.setattr(run, "probing", scripted(folder))
    _, outcomes, _ = whole(folder, How(workers=2))
    assert outcomes[first.key].state is State.DIED
    begun, outcomes, _ = whole(folder, How(workers=2, again=True))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert len(measured_by(folder)) == len(begun.cells) + 1


def test_environments_are_dropped_by_a_bound_once_they_are_used_up(folder: Path) -> None:
    _, outcomes, told = whole(folder, How(workers=1, disk_bytes=2 * SIZE + SIZE // 2))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    places = [environment_place(text) for text in SPEC.stacks]
    assert f"dropped the environment {places[0].name}" in told
    assert [place.is_dir() for place in places] == [False, True, True]
    assert all((place / room.MARK).is_file() for place in places[1:])


def test_an_environment_that_was_there_is_nobodys_to_drop(folder: Path) -> None:
    place = environment_place("reference")
    run.environment_for("reference")
    whole(folder, How(workers=1, disk_bytes=SIZE))
    assert place.is_dir()
    assert not (place / room.MARK).exists()


def test_a_timeline_of_what_is_not_measured_is_refused_before_anything_is(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"measures no forward, so it has no forward\.loss"):
        begin(replace(SPEC, metrics=("forward.loss",)), How())


def test_progress_says_what_is_left() -> None:
    cells = [cell(stack) for stack in "abc"]
    lines: list[str] = []
    progress = Progress(cells, Pace([]), 2, lines.append)
    done = Outcome(State.MEASURED, seconds=40.0, model=cells[0].model, rungs=RUNGS)
    progress.told(cells[0], done)
    progress.told(cells[1], Outcome(State.NOT_RUN, "needs another release"))
    progress.told(cells[2], done)
    assert lines == [
        "1 of 3, about 40 s left: measured qwen2_vl on a in 40 s",
        "2 of 3, about 20 s left: does not run qwen2_vl on b (needs another release)",
        "3 of 3: measured qwen2_vl on c in 40 s",
    ]
    assert progress.stacks_left == frozenset()
