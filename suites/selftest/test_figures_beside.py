"""Which of the tests of today an earlier commit has, and what is kept of both sides."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def beside() -> ModuleType:
    spec = importlib.util.spec_from_file_location("beside", ROOT / ".ci" / "beside.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_moved_test_is_the_same_and_a_new_one_is_not(beside: ModuleType) -> None:
    earlier = ["a.py::test_x", "a.py::test_y[1]", "a.py::test_z[old]", "a.py::test_gone"]
    today = [
        *("a.py::test_x", "b.py::test_y[1]", "b.py::test_y[2]"),
        *("a.py::test_z[new]", "a.py::test_z[newer]", "a.py::test_new"),
    ]
    same, gone = beside.same_tests(earlier, today)
    assert same == {*today} - {"b.py::test_y[2]", "a.py::test_new"}
    assert gone == {"a.py::test_gone"}


def test_the_command_is_that_of_tox(beside: ModuleType) -> None:
    command = beside.command_of(ROOT, Path("python"))
    assert command[:4] == ["python", "-m", "pytest", "suites/"]
    assert "not slow" in command
    assert "{posargs}" not in command


def test_a_run_is_timed_with_all_its_processes(beside: ModuleType, tmp_path: Path) -> None:
    # Enough for a clock that ticks every few milliseconds and may call a short time the system's.
    code = "import sys; sys.exit('x' * (sum(range(8_000_000)) > 0))"
    shell = f'python3 -c "{code}"; python3 -c "{code}"; echo 2 passed; exit 3'
    sample = beside.timed(["sh", "-c", shell], tmp_path, beside.environment(tmp_path))
    assert (sample["code"], sample["said"]) == (3, "2 passed")
    assert sample["user_seconds"] + sample["system_seconds"] > 0


def test_the_kept_runs_are_whole_and_green(beside: ModuleType) -> None:
    kept = json.loads((ROOT / "reports" / "beside.json").read_text(encoding="utf-8"))
    assert kept["samples"].keys() == kept["commits"].keys() == {"earlier", "today"}
    for name, samples in kept["samples"].items():
        assert len(samples) >= 2
        assert all(s["code"] == 0 and " passed" in s["said"] for s in samples), name
    counted = kept["tests"]
    assert counted["today"] >= counted["earlier"] - len(counted["gone"])
    assert 0 < beside.ratio(kept) < 1
