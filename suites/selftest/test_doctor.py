"""The doctor names each lack and its mend, in seconds and without installing anything."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StackBroken
from harness.judging.environments import inspection as doctor
from harness.judging.environments.inspection import (
    LACK,
    NOT_HERE,
    OK,
    WARN,
    Line,
    exit_code,
    inspect,
)
from harness.judging.environments.installed import IDENTIFYING
from harness.judging.environments.stack import locked
from harness.measuring.snapshots.source import STAND_IN
from harness.records.failure import Mismatch
from suites.commands import process


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with the reference stack, a large disk, no driver and no variables of ours."""
    for name in ("HARNESS_MODEL", "HARNESS_LANE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "no-driver")
    monkeypatch.setattr(doctor, "installed_versions", lambda: locked("reference"))
    monkeypatch.setattr(
        "harness.judging.environments.installed.installed_stack", lambda: "reference"
    )


def line(what: str, stack: str = "current", *, require_cuda: bool = False) -> Line:
    (line_found,) = [x for x in inspect(stack, require_cuda=require_cuda) if x.what == what]
    return line_found


def test_a_good_machine_is_all_right() -> None:
    lines = inspect("current", require_cuda=False)
    assert exit_code(lines) == 0
    assert {x.what: x.state for x in lines if x.what != "cuda"} == dict.fromkeys(
        ("python", "uv", "disk", "stack", "model"), OK
    )


def test_every_lack_names_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    version = namedtuple("version", "major minor micro")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2, 1, 1_000_000_000))
    monkeypatch.setattr(sys, "version_info", version(3, 9, 1))
    monkeypatch.setattr(doctor, "installed_versions", dict)
    monkeypatch.setenv("HARNESS_MODEL", "nowhere/at-all")

    def no_uv() -> str:
        raise StackBroken("uv is missing; install it with `pip install uv`.")

    monkeypatch.setattr(doctor, "uv_binary", no_uv)
    lines = inspect("current", require_cuda=True)
    assert {x.what: x.state for x in lines} == {
        "python": LACK,
        "uv": LACK,
        "disk": LACK,
        "stack": LACK,
        "model": LACK,
        "cuda": NOT_HERE,
    }
    assert all(x.mend for x in lines)
    assert exit_code(lines) == 2


def test_without_cuda_the_gpu_lane_is_exit_3() -> None:
    assert line("cuda").state == WARN
    lines = inspect("current", require_cuda=True)
    assert exit_code(lines) == 3
    assert "no NVIDIA driver" in line("cuda", require_cuda=True).found


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        ({"torch": "12.1"}, NOT_HERE, "sees no device"),
        ({"torch": "12.1", "device": "X"}, OK, "X, torch CUDA 12.1, bitsandbytes works"),
        ({"torch": "12.1", "device": "X", "bitsandbytes": "OSError: a"}, NOT_HERE, "OSError: a"),
        (None, NOT_HERE, "torch cannot be asked"),
    ],
)
def test_what_torch_says_of_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Any, state: str, text: str
) -> None:
    done = namedtuple("done", "returncode stdout stderr")
    reply = done(0, json.dumps(answer), "") if answer else done(1, "", "boom")
    (tmp_path / "driver").write_text("")
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: reply)
    lines = doctor._cuda(True)
    assert lines.state == state
    assert text in lines.found


def test_the_gpu_lane_never_uses_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LANE", "gpu")
    assert line("gpu model").state == NOT_HERE
    monkeypatch.setenv("HARNESS_MODEL", "stand-in")
    assert line("gpu model").state == NOT_HERE
    monkeypatch.setenv("HARNESS_MODEL", "random-7b")
    assert "gpu model" not in {x.what for x in inspect("current", require_cuda=False)}


def test_a_stack_that_left_its_lock_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {**locked("reference"), "tokenizers": "0.20.3"}
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)
    answer = line("stack")
    assert answer.state == LACK
    assert "tokenizers 0.20.3 (lock 0.20.0)" in answer.found
    assert "reference.lock" in answer.mend


def test_a_trial_stack_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {**locked("reference"), "trl": "0.12.0"}
    assert "trl" in IDENTIFYING
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)
    monkeypatch.setattr("harness.judging.environments.installed.installed_stack", lambda: "current")
    answer = line("stack")
    assert answer.state == WARN
    assert "trl 0.12.0 (reference 0.11.1)" in answer.found


def test_a_stack_to_be_built_says_so() -> None:
    assert "built when a command first needs it" in line("stack", "latest").found


def test_a_snapshot_is_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.setenv("HARNESS_MODEL", str(tmp_path))
    answer = line("model")
    assert answer.state == LACK
    assert str(tmp_path) in answer.found
    assert answer.mend


def test_a_snapshot_without_weights_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in STAND_IN.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, tmp_path / path.name)
    monkeypatch.setenv("HARNESS_MODEL", str(tmp_path))
    answer = line("model")
    assert (answer.state, "has no weights" in answer.found) == (WARN, True)
    (tmp_path / "preprocessor_config.json").unlink()
    assert "lacks preprocessor_config.json" in line("model").found


def test_a_relative_snapshot_is_looked_for_where_the_user_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for path in STAND_IN.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, tmp_path / "mine" / path.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_MODEL", "mine")
    answer = line("model")
    assert (answer.state, answer.found) == (WARN, "mine has no weights")


def test_its_json_is_one_document() -> None:
    done = process("doctor", "--stack", "reference", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert {"python", "uv", "disk", "stack", "model", "cuda"} <= {
        entry["what"] for entry in document["lines"]
    }
    assert "stack: reference" in done.stderr


def test_an_unknown_stack_is_one_sentence_and_exit_2() -> None:
    done = process("doctor", "--stack", "refrence")
    assert done.code == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: There is no stack 'refrence'")


def test_releases_that_do_not_work_together_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Mismatch("transformers", "5.0.0", "accelerate", "0.34.2", ">=1.1.0")
    sentence = pair.sentence
    asked: list[str] = []

    def ask(script: str, *words: str, python: str = sys.executable) -> tuple[dict[str, Any], str]:
        asked.append(python)
        return {"pairs": [sentence]}, ""

    monkeypatch.setattr(doctor, "_ask", ask)
    with monkeypatch.context() as patch:
        patch.setattr(doctor, "mismatches", lambda: (pair,))
        answer = line("pairs")
    assert (answer.state, answer.found) == (LACK, sentence)
    assert answer.mend
    assert exit_code((answer,)) == 2
    # This interpreter's own metadata are at hand: no process is started to read them.
    assert not asked
    # A stack that is built is asked in its own environment; one that is not, not at all.
    monkeypatch.setattr(doctor, "is_built", lambda text: True)
    monkeypatch.setattr(doctor, "environment_for", lambda text: Path("/there/bin/python"))
    assert line("pairs", "reference,transformers==5.0.0").found == sentence
    assert asked[-1] == "/there/bin/python"
    monkeypatch.setattr(doctor, "is_built", lambda text: False)
    lines = inspect("reference,transformers==5.0.0", require_cuda=False)
    assert "pairs" not in {x.what for x in lines}
