"""Where a result is to go and no file can be: a pipe, a device, a folder. Refused before anything
is written, and what was there stays what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.records.files import write_json
from harness.records.record import Metric, Provenance, Record, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records to report."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    provenance = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s")
    write_record(Record("text", provenance, (Metric("text", "m", "a", 1.0),)), tmp_path / "run")
    return tmp_path / "run"


def odd(kind: str, path: Path) -> Path:
    """What is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_suffix(".pipe"))
        path.symlink_to(path.with_suffix(".pipe"))
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    else:
        path.mkdir()
    return path


KINDS = ("pipe", "link to a pipe", "link to a device", "folder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["--junit", "--summary", "--out", "$GITHUB_STEP_SUMMARY"])
def test_a_result_takes_the_place_of_regular_files_only(
    harness: Command,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    kind: str,
) -> None:
    path = odd(kind, tmp_path / "odd")
    before = path.lstat()
    if option.startswith("$"):
        monkeypatch.setenv(option[1:], str(path))
        ended = harness("report", folder)
    else:
        ended = harness("report", folder, option, path)
    if option.startswith("$") and kind == "link to a device":
        assert ended.code in {0, 1, 3}  # what is appended there is nobody's
        return
    assert ended.code == 2
    assert "odd" in ended.sentence
    assert not (folder / "report.html").exists()
    assert (path.lstat().st_ino, stat.S_IFMT(path.lstat().st_mode)) == (
        before.st_ino,
        stat.S_IFMT(before.st_mode),
    )


def test_two_results_do_not_go_into_one_file(harness: Command, folder: Path) -> None:
    both = folder.parent / "both"
    for other in (both, folder.parent / "run" / ".." / "both"):
        ended = harness("report", folder, "--junit", both, "--summary", other)
        assert ended.code == 2
        assert "--junit and --summary" in ended.sentence
    assert not both.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_written_takes_the_place_of_another_kind(tmp_path: Path, kind: str) -> None:
    path = odd(kind, tmp_path / "odd.json")
    names = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=r"odd\.json cannot be written"):
        write_json(path, {})
    assert sorted(tmp_path.iterdir()) == names
