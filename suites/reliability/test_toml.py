"""Files of TOML and folders of source that a user names: one sentence, exit 2, at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suites.commands import Command
from suites.reliability.memory import cost
from suites.reliability.test_command_lines import refused

pytestmark = pytest.mark.usefixtures("no_variables")

RAW = {
    "empty": b"",
    "no text": b"\xff\xfe",
    "no toml": b"{}",
    "brackets": b"a = " + b"[" * 100_000,
    "tables": b"a = " + b"{b = " * 50_000,
    "digits": b"a = " + b"9" * 10_000,
    "zero byte": b"a = 1\0",
    "a number": b"schema = 1\nproject = 5\nstacks = 5\nmodels = 5\n",
    "a list": b"schema = 1\nproject = [1]\nstacks = [[1]]\nmodels = [1]\n",
    "a table": b'schema = 1\nstacks = {a = 1}\n[project]\nname = ["x"]\n',
    "a name": b'schema = 1\nstacks = ["../x"]\nmodels = ["[/]"]\n[project]\nname = "../x"\n',
}


def placed(path: Path, kind: str) -> Path:
    """A file of that content, or what is no file."""
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("/"):
        path.symlink_to(kind)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(RAW[kind])
    return path


KINDS = (*RAW, "pipe", "folder", "/dev/zero", "/dev/null", "loop")


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_file_that_is_none(harness: Command, tmp_path: Path, kind: str) -> None:
    path = placed(tmp_path / "there" / "matrix.toml", kind)
    sentences: list[str] = []
    took = cost(
        lambda: sentences.append(
            refused(harness, tmp_path / "out", "matrix", path, "--out", tmp_path / "out")
        )
    )
    assert "matrix.toml" in sentences[0] or kind in {"a name", "a list"}
    assert took.megabytes < 50
    assert took.seconds < 5


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "x.py"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkout_that_is_none(
    harness: Command, tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read to be digested and named; what does not say its name is refused by the folder's."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    if name == "x.py":
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "pyproject.toml").write_bytes(b'[project]\nname = ["x"]\n')
    path = placed(tmp_path / "there" / name, kind)
    words = ["compare", f"reference,{path.parent}", "current", "--out", tmp_path / "out"]
    sentences: list[str] = []
    took = cost(lambda: sentences.append(refused(harness, tmp_path / "out", *words)))
    assert "there" in sentences[0]
    assert took.megabytes < 50
    assert took.seconds < 5


@pytest.mark.parametrize("kind", ["pipe", "loop", "/dev/zero"])
def test_a_checkout_with_what_is_no_file(tmp_path: Path, kind: str) -> None:
    from harness.judging.environments.checkout import read_checkout

    placed(tmp_path / "there" / "odd.txt", kind)
    (tmp_path / "there" / "pyproject.toml").write_bytes(b'[project]\nname = "x"\n')
    took = cost(lambda: read_checkout(tmp_path / "there"))
    assert took.seconds < 5
    # A link is read as a link, wherever it leads.
    assert ("odd.txt" in took.refusal) == (kind == "pipe")
