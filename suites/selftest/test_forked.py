"""A command that is forked ends as one that is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records.context import Context
from harness.records.jobs import ProbeJob, ResolveJob, write_job
from suites import forked
from suites.commands import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with forked.server():
        yield


def both(
    tmp_path: Path, *words: str, **variables: str
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """The same command, forked and started. No SUITES_… variable tells them apart."""
    command = [sys.executable, "-m", "harness", *words]
    path = os.pathsep.join(map(str, (tmp_path, ROOT)))
    env = {**os.environ, "PYTHONPATH": path, **variables}
    assert forked.can_fork(command, env)
    started = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path
    )
    return forked.run(command, env=env, cwd=tmp_path, timeout=120), started


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "words",
    [["--help"], ["probe", "nonsense"], ["golden", "list"], ["report", "."], ["nonsense"]],
    ids=" ".join,
)
def test_a_command_says_and_ends_the_same(tmp_path: Path, words: list[str]) -> None:
    of_fork, of_start = both(tmp_path, *words)
    assert (of_fork.stdout, of_fork.stderr) == (of_start.stdout, of_start.stderr)
    assert of_fork.returncode == of_start.returncode
    assert of_start.stdout or of_start.stderr


SHOWS = """
import os, sys
import harness.cli
def main():
    libraries = {"torch", "huggingface_hub", "transformers"} & sys.modules.keys()
    print(os.environ["SHOWN"], os.getcwd(), sys.path[:3], sys.argv[1:], sorted(libraries))
    print(os.isatty(0), repr(sys.stdin.read()), file=sys.stderr)
    raise SystemExit(ENDS)
harness.cli.main = main
"""


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("ends", ["None", "7", "'a reason'", "1 / 0"])
def test_it_has_its_own_variables_folder_path_words_and_end(tmp_path: Path, ends: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHOWS.replace("ENDS", ends))
    of_fork, of_start = both(tmp_path, "a", "b c", SHOWN="a variable of its own")
    path = [str(tmp_path), str(tmp_path), str(ROOT)]
    shown = f"a variable of its own {tmp_path} {path} ['a', 'b c'] []\n"
    assert of_fork.stdout == of_start.stdout == shown
    assert of_fork.returncode == of_start.returncode
    theirs, ours = of_start.stderr.splitlines(), of_fork.stderr.splitlines()
    assert theirs[0] == "False ''"
    assert (ours[0], ours[-1]) == (theirs[0], theirs[-1])


@pytest.mark.usefixtures("server")
def test_one_that_is_interrupted_ends_as_python_does(tmp_path: Path) -> None:
    interrupted = "import os, harness.cli\nharness.cli.main = lambda: os.kill(os.getpid(), 2)\n"
    (tmp_path / "sitecustomize.py").write_text(interrupted)
    # Whoever starts the suites in a shell's background has interrupts ignored; a child would too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        of_fork, of_start = both(tmp_path, "--help")
    finally:
        signal.signal(signal.SIGINT, before)
    assert of_fork.returncode == of_start.returncode == -2
    assert of_fork.stderr.splitlines()[-1] == of_start.stderr.splitlines()[-1]
    assert "KeyboardInterrupt" in of_start.stderr


@pytest.mark.usefixtures("server")
def test_one_that_is_killed_says_by_what(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.kill(os.getpid(), 9)\n")
    of_fork, of_start = both(tmp_path, "--help")
    assert of_fork.returncode == of_start.returncode == -9


@pytest.mark.usefixtures("server")
def test_one_that_does_not_end_is_ended(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(60)\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([sys.executable, "-m", "harness"], env=env, cwd=tmp_path, timeout=0.5)


@pytest.mark.usefixtures("server")
def test_what_is_about_the_interpreter_or_measures_is_started(tmp_path: Path) -> None:
    ours = [sys.executable, "-m", "harness"]
    assert forked.can_fork(ours, os.environ)
    assert not forked.can_fork(ours, {**os.environ, "PYTHONIOENCODING": "ascii"})
    assert not forked.can_fork(ours, {**os.environ, "LC_ALL": "xx"})
    assert not forked.can_fork(["/another/python", "-m", "harness"], os.environ)
    assert not forked.can_fork([sys.executable, "-m", "harness.measuring.training"], os.environ)
    look_up, measuring = tmp_path / "a.json", tmp_path / "b.json"
    write_job(look_up, ResolveJob("stand-in", "catalogue", "cpu", tmp_path / "answer"))
    context = Context(
        "reference", "stand-in", "catalogue", tmp_path, True, tmp_path, family="qwen2_vl"
    )
    write_job(measuring, ProbeJob(context, ("text",), 60.0))
    child = [sys.executable, "-m", "harness.measuring.child"]
    assert forked.can_fork([*child, str(look_up)], os.environ)
    assert not forked.can_fork([*child, str(measuring)], os.environ)


def test_without_a_server_everything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_RUNNING", [])
    assert not forked.can_fork([sys.executable, "-m", "harness"], os.environ)
