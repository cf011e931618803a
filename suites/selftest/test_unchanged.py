"""What is not read again: a file that is as it was, and no other."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.records import unchanged
from harness.records.unchanged import SETTLED_NS, Kept


class Reader:
    """Reads texts, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def __call__(self, path: Path) -> str:
        self.asked.append(path)
        return path.read_text()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything had been written long ago."""
    now = time.time_ns
    monkeypatch.setattr(unchanged.time, "time_ns", lambda: now() + 2 * SETTLED_NS)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.usefixtures("later")
def test_a_file_is_read_once(tmp_path: Path) -> None:
    path, reader = written(tmp_path / "a", "one"), Reader()
    kept = Kept(reader)
    assert [kept(path), kept(str(path))] == ["one", "one"]
    assert reader.asked == [path]


@pytest.mark.usefixtures("later")
def test_another_content_of_the_same_size_is_seen(tmp_path: Path) -> None:
    path, kept = written(tmp_path / "a", "one"), Kept(Reader())
    assert kept(path) == "one"
    time.sleep(0.02)  # more than a tick of the clock that a file system asks
    before = path.stat()
    path.write_text("two")
    # Even where somebody gives it back the time that it had.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kept(path) == "two"


@pytest.mark.usefixtures("later")
def test_another_file_in_its_place_is_seen(tmp_path: Path) -> None:
    path, kept = written(tmp_path / "a", "one"), Kept(Reader())
    assert kept(path) == "one"
    os.replace(written(tmp_path / "b", "two"), path)
    assert kept(path) == "two"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept(path)
    assert kept(written(path, "again")) == "again"


@pytest.mark.usefixtures("later")
def test_the_same_name_elsewhere_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(Reader())
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert kept(written(Path("a"), name)) == name


def test_what_changed_just_now_is_read_again(tmp_path: Path) -> None:
    """It may change again before the file system's clock ticks: nothing would tell."""
    path, reader = written(tmp_path / "a", "one"), Reader()
    kept = Kept(reader)
    stamp = path.stat()
    assert kept(path) == "one"
    path.write_text("two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert kept(path) == "two"
    assert reader.asked == [path, path]


@pytest.mark.usefixtures("later")
def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a", "one")
    asked: list[str] = []

    def read(of: Path) -> str:
        asked.append(of.read_text())
        if len(asked) == 1:
            time.sleep(0.02)
            of.write_text("two")
        return asked[-1]

    kept = Kept(read)
    assert [kept(path), kept(path)] == ["one", "two"]


@pytest.mark.usefixtures("later")
def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    path, kept = tmp_path / "a", Kept(lambda path: int(path.read_text()))
    written(path, "x")
    for _ in range(2):
        with pytest.raises(ValueError, match="'x'"):
            kept(path)
