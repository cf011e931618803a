"""`--workers N` loses no test and no outcome, whatever becomes of a worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from suites.commands import ROOT

CONFTEST = """\
import os
import pytest
from suites import workers

def pytest_addoption(parser):
    parser.addoption("--workers", default=0, type=int)
    parser.addoption("--benchmark-disable", action="store_true")

def pytest_configure(config):
    workers.prepare(config)

def pytest_runtestloop(session):
    return workers.run(session)

@pytest.fixture(scope="session")
def base(tmp_path_factory, pytestconfig):
    place = tmp_path_factory.getbasetemp()
    yield place
    ended = pytestconfig.rootpath / "ended"
    ended.mkdir(exist_ok=True)
    (ended / str(os.getpid())).touch()

@pytest.fixture(autouse=True)
def told(base, record_property):
    record_property("pid", os.getpid())
    record_property("base", str(base))
"""
PLAIN = """\
import warnings
import pytest

@pytest.mark.parametrize("n", range(3))
def test_plain(n):
    print("written here")

def test_that_warns():
    warnings.warn("look here")

def test_that_is_skipped():
    pytest.skip("not here")
"""
BAD = """\
import os, signal

def test_before():
    pass

def test_that_fails():
    print("written before it failed")
    assert [1, 2] == [1, 3]

def test_that_dies():
    os.kill(os.getpid(), signal.SIGKILL)

def test_after():
    pass
"""
OPTIONS = (
    *("-p", "no:cacheprovider", "--workers", "2"),
    *("--junitxml", "out.xml", "-o", "junit_family=xunit1"),
)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The small project's tests in two workers."""
    (folder / "conftest.py").write_text(CONFTEST)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cases(folder: Path) -> dict[str, ElementTree.Element]:
    tree = ElementTree.parse(folder / "out.xml")
    listed = [(case.get("name", ""), case) for case in tree.iter("testcase")]
    assert len(listed) == len(dict(listed)), "a test was run twice"
    return dict(listed)


def told(case: ElementTree.Element, name: str) -> str:
    return next(p.get("value", "") for p in case.iter("property") if p.get("name") == name)


def test_every_outcome_arrives_and_a_worker_that_dies_loses_one_test(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(BAD)
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(PLAIN.replace("test_", f"test_{name}_"))
    done = run(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 10 passed, 2 skipped, 2 warnings" in done.stdout
    assert done.stdout.count("look here") >= 2
    assert "At index 1 diff: 2 != 3" in done.stdout
    assert "written before it failed" in done.stdout
    assert "The process that ran this test ended by signal 9." in done.stdout
    by_name = cases(tmp_path)
    assert len(by_name) == 14
    failed = {name for name, case in by_name.items() if case.find("failure") is not None}
    assert failed == {"test_that_fails", "test_that_dies"}
    # A file's tests share a process, but for those after a death; none is the first process.
    ran = {name: told(case, "pid") for name, case in by_name.items() if name != "test_that_dies"}
    for name in ("one", "two"):
        assert len({pid for test, pid in ran.items() if f"_{name}_" in test}) == 1
    assert ran["test_before"] == ran["test_that_fails"] != ran["test_after"]
    # What lasts a session ends in every worker that lived, in a folder of its own.
    assert {p.name for p in (tmp_path / "ended").iterdir()} == set(ran.values()) - {
        ran["test_before"]
    }
    bases = {ran[name]: told(by_name[name], "base") for name in ran}
    assert len(set(bases.values())) == len(bases) > 1
    assert len({Path(base).parent for base in bases.values()}) == 1


VARIABLES = """\
import os

def test_variables():
    assert os.environ["OMP_NUM_THREADS"] == WANTED_NUMBER
    assert os.environ["OMP_WAIT_POLICY"] == WANTED_POLICY
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
"""


@pytest.mark.parametrize(("number", "policy"), [(None, None), ("3", "ACTIVE")])
def test_threads_that_share_cores_wait_idly_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str | None, policy: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # CUDA does not outlive a fork
    for name, value in (("OMP_NUM_THREADS", number), ("OMP_WAIT_POLICY", policy)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    there = VARIABLES.replace("WANTED_NUMBER", repr(number or "1"))
    there = there.replace("WANTED_POLICY", repr(policy or "PASSIVE"))
    (tmp_path / "test_variables.py").write_text(there)
    done = run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_the_lane_of_gpus_has_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LANE", "gpu")
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    done = run(tmp_path)
    assert (done.returncode, "CUDA does not outlive that" in done.stderr) == (4, True), done.stderr


def test_a_run_that_is_to_stop_stops(tmp_path: Path) -> None:
    fail = "def test_0():\n    assert 1 == 2\n\n"
    later = "".join(
        f"def test_{n}():\n    import pathlib, time; time.sleep(0.2)\n"
        "    pathlib.Path(__file__).with_suffix('.ran').open('a').write('1')\n\n"
        for n in range(1, 100)
    )
    for name in ("one", "two", "three"):
        (tmp_path / f"test_{name}.py").write_text(fail + later)
    done = run(tmp_path, "-x")
    assert done.returncode == 1, done.stdout + done.stderr
    # Both workers' first tests may fail before either is told.
    assert re.search("stopping after [12] failures", done.stdout)
    assert "passed" not in done.stdout
    # Each worker ends after the test that it is at; on a busy machine that is told later.
    assert sum(len(ran.read_text()) for ran in tmp_path.glob("*.ran")) < 40


THREADED = """\
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
def test_it(): pass
"""


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (THREADED, 3, "a thread that runs before the fork is lost in it"),
        ("def test_it(): import pytest; pytest.exit('enough')\n", 2, "enough"),
        ("import nowhere\n", 2, "1 error"),
    ],
)
def test_what_cannot_go_on_is_told(tmp_path: Path, text: str, code: int, words: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    done = run(tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
