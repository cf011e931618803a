"""An environment is built once, again where it must be, and a failed build is one sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from harness.errors import OutOfSpace, StackBroken
from harness.judging.environments import build as environments
from harness.judging.environments import stack as stacks
from harness.judging.environments.build import environment_for
from harness.judging.environments.stack import (
    as_of,
    listed,
    pins,
)
from suites.selftest.stacks import FakeUv


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeUv:
    fake = FakeUv()
    monkeypatch.setattr(environments.bound, "run", fake)
    monkeypatch.setattr(environments, "uv_binary", lambda: "uv")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return fake


def test_current_builds_nothing(uv: FakeUv) -> None:
    assert environment_for("current") == Path(sys.executable)
    assert not uv.calls


def test_an_environment_is_built_once_with_hashes(uv: FakeUv) -> None:
    first = environment_for("reference")
    assert uv.verbs() == ["venv", "install"]
    assert "--require-hashes" in uv.calls[-1]
    assert environment_for("reference") == first
    assert len(uv.calls) == 2


def test_a_varied_environment_is_resolved_near_the_lock(uv: FakeUv) -> None:
    plain = environment_for("reference")
    varied = environment_for("reference,transformers==4.49.0")
    assert varied != plain
    assert uv.verbs() == ["venv", "install", "compile", "venv", "install"]
    assert "--require-hashes" not in uv.calls[-1]


def test_a_dated_stack_is_resolved_as_on_its_day(uv: FakeUv) -> None:
    environment_for("transformers-4.49.0")
    assert uv.verbs() == ["compile", "venv", "install"]
    (resolution,) = [words for words in uv.calls if "compile" in words]
    assert resolution[resolution.index("--exclude-newer") + 1] == "2025-02-28"
    # A variation may be newer than the day.
    environment_for("transformers-4.49.0,peft==0.18.0")
    assert not [words for words in uv.calls[3:] if "--exclude-newer" in words]


DATED = [name for name in listed() if name.startswith("transformers-")]


@pytest.mark.parametrize("name", DATED)
def test_a_dated_stack_names_what_the_recipe_names(name: str) -> None:
    assert as_of(name)
    exact = {pin.name: pin for pin in pins(name)}
    assert {p.name for p in pins("recipe-bare")} <= set(exact)
    assert exact["transformers"].requirement == f"transformers=={name.split('-')[1]}"
    assert exact["transformers"].origin == "swept"
    assert all("==" in pin.requirement for pin in exact.values())


def test_newest_is_resolved_at_every_call(uv: FakeUv) -> None:
    environment_for("newest")
    environment_for("newest")
    assert uv.verbs() == ["compile", "venv", "install", "compile"]


def test_a_wheel_that_changed_is_another_environment(uv: FakeUv, tmp_path: Path) -> None:
    wheel = tmp_path / "peft-0.14.1-py3-none-any.whl"
    wheel.write_bytes(b"1")
    first = environment_for(f"reference,{wheel}")
    wheel.write_bytes(b"2")
    assert environment_for(f"reference,{wheel}") != first


def test_a_failed_build_is_one_sentence_and_is_tried_again(uv: FakeUv) -> None:
    uv.fail = (
        "  × No solution found when resolving dependencies:\n"
        "  ╰─▶ Because peft==9 does not exist and you require peft==9, we can conclude that\n"
        "      your requirements are unsatisfiable.\n"
    )
    with pytest.raises(StackBroken, match=r"peft==9.*Because peft==9 does not exist") as caught:
        environment_for("reference,peft==9")
    assert "\n" not in str(caught.value)
    uv.fail = ""
    assert environment_for("reference,peft==9").exists()


def test_a_disk_that_fills_up_is_said(uv: FakeUv) -> None:
    uv.fail = "error: failed to write: No space left on device (os error 28)"
    with pytest.raises(OutOfSpace, match="HARNESS_CACHE"):
        environment_for("reference")


def test_a_small_disk_is_refused_before_anything_is_written(
    uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000_000))
    with pytest.raises(OutOfSpace, match=r"needs 7 GB.*1\.0 GB free.*HARNESS_CACHE"):
        environment_for("reference")
    assert not uv.calls


def test_an_interrupted_build_is_built_again(uv: FakeUv) -> None:
    python = environment_for("reference")
    (python.parent.parent / "harness.json").unlink()
    environment_for("reference")
    assert uv.verbs() == ["venv", "install"] * 2


def test_two_builders_wait_for_one_another(uv: FakeUv) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(environment_for, ["reference"] * 4))
    assert len(folders) == 1
    assert uv.verbs() == ["venv", "install"]


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("name", ["reference", "latest"])
def test_the_locks_install_on_either_python(tmp_path: Path, name: str, python: str) -> None:
    """Every hash and wheel is there for Linux x86-64; nothing is installed."""
    done = subprocess.run(
        [
            environments.uv_binary(),
            "pip",
            "install",
            "--dry-run",
            "--require-hashes",
            "--python-version",
            python,
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--only-binary",
            ":all:",
            "--no-binary",
            "rouge-score",
            "--target",
            str(tmp_path),
            "-r",
            str(stacks.STACKS / f"{name}.lock"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "+ torch==" in done.stderr


@pytest.mark.slow
def test_uv_itself_names_an_unresolvable_requirement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with pytest.raises(StackBroken, match="packaging") as caught:
        environments.resolve("packaging==0.0.0\n", "", "reference,packaging==0.0.0", tmp_path)
    assert "\n" not in str(caught.value)


def test_uv_is_found_by_two_threads_at_once() -> None:
    """In a fresh process: sysconfig's first answer is what two threads trip over."""
    script = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from harness.judging.environments.build import uv_binary\n"
        "pool = ThreadPoolExecutor(8)\n"
        "found = {f.result() for f in [pool.submit(uv_binary) for _ in range(8)]}\n"
        "assert len(found) == 1, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
