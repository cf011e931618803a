"""Stacks: how they are written, what they promise, what uv is asked for; uv itself is replaced."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, OutOfSpace, StackBroken
from harness.judging.environments import build as environments
from harness.judging.environments import stack as stacks
from harness.judging.environments.build import environment_for
from harness.judging.environments.stack import (
    Stack,
    as_of,
    constraints,
    declared,
    listed,
    locked,
    parse,
    pins,
)

RECIPE = {
    "torch": "2.4.0",
    "transformers": "4.45.1",
    "datasets": "3.0.1",
    "accelerate": "0.34.2",
    "evaluate": "0.4.3",
    "bitsandbytes": "0.44.0",
    "trl": "0.11.1",
    "peft": "0.13.0",
}


def test_the_recipes_pins_are_exact_and_say_so() -> None:
    exact = {pin.name: pin for pin in pins("reference")}
    for name, version in RECIPE.items():
        assert exact[name].requirement == f"{name}=={version}"
        assert exact[name].origin == "recipe"
    assert {n for n, pin in exact.items() if pin.origin == "recipe"} == set(RECIPE)
    lock = locked("reference")
    assert {name: lock[name] for name in RECIPE} == RECIPE


@pytest.mark.parametrize("name", ["reference", "latest"])
def test_every_line_says_whose_it_is_and_why(name: str) -> None:
    for pin in pins(name):
        assert pin.origin.startswith(("recipe", "newest", "ours: ")), pin
        if pin.origin.startswith("ours"):
            assert len(pin.origin) > len("ours: "), pin


@pytest.mark.parametrize("name", ["reference", "latest"])
def test_a_lock_holds_every_line_with_hashes_and_no_host(name: str) -> None:
    lock = locked(name)
    for pin in pins(name):
        assert pin.name in lock
        if "==" in pin.requirement:
            assert pin.requirement.split("==")[1] == lock[pin.name]
    text = (stacks.STACKS / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in text
    blocks = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(blocks) >= len(lock)
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_locks_hold_what_the_suites_need_inside_a_stack() -> None:
    wanted = {
        "pytest",
        "pytest-benchmark",
        "hypothesis",
        "rich",
        "evaluate",
        "rouge-score",
        "sacrebleu",
        "safetensors",
        "tensorboard",
        "regex",
        "packaging",
        "numpy",
        "filelock",
        "uv",
    }
    assert wanted <= set(locked("reference"))
    assert wanted <= set(locked("latest"))


def test_the_bare_pins_add_nothing() -> None:
    assert not any("==" in p.requirement for p in pins("recipe-bare") if p.name not in RECIPE)
    assert {p.name for p in pins("recipe-bare")} == {
        *RECIPE,
        "torchvision",
        "tensorboard",
        "pillow",
        "qwen-vl-utils",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reference", Stack("reference")),
        ("current", Stack("current")),
        ("reference,transformers==4.49.0", Stack("reference", ("transformers==4.49.0",))),
        (
            "latest,peft>=0.13,<0.14,trl==0.20.0",
            Stack("latest", ("peft<0.14,>=0.13", "trl==0.20.0")),
        ),
    ],
)
def test_parse(text: str, expected: Stack) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("refrence", "There is no stack 'refrence'; choose from .*reference"),
        ("", "There is no stack ''"),
        ("current,peft==0.14.0", "`current` is used as it is"),
        ("reference,peft=0.14", "is no requirement"),
        ("reference,", "is no requirement"),
        ("reference,./nowhere.whl", "There is no wheel"),
    ],
)
def test_parse_refuses_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("peft-0.14.0-cp27-cp27m-linux_x86_64.whl", "is for cp27, this Python is cp3"),
        ("peft.whl", "is not a wheel's file name"),
    ],
)
def test_a_wheel_for_another_python_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadInput, match=message):
        parse(f"reference,{tmp_path / name}")


def test_a_wheel_of_this_python_is_taken_and_declared(tmp_path: Path) -> None:
    wheel = tmp_path / "peft-0.14.1-py3-none-any.whl"
    wheel.write_bytes(b"")
    stack = parse(f"reference,{wheel}")
    assert stack.label == f"reference,{wheel.name}"
    assert declared(stack)["peft"] == "0.14.1"
    assert str(wheel) in constraints(stack)
    assert "peft==" not in constraints(stack)


def test_a_committed_stack_declares_its_lock_and_a_varied_one_its_pins() -> None:
    assert declared(parse("reference")) == locked("reference")
    varied = declared(parse("reference,transformers==4.49.0,trl>=0.12"))
    assert varied["transformers"] == "4.49.0"
    assert varied["peft"] == "0.13.0"
    assert "trl" not in varied
    assert "tokenizers" not in varied
    assert declared(parse("transformers-4.49.0"))["tokenizers"] == "0.21.0"
    with pytest.raises(BadInput, match="declares no versions"):
        declared(parse("newest"))


def test_markers_of_a_lock_are_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "STACKS", tmp_path)
    (tmp_path / "s.lock").write_text(
        "a==1 ; python_version < '3' \\\n    --hash=sha256:0\n"
        "a==2 ; python_version >= '3' \\\n    --hash=sha256:0\n    # via x\n"
    )
    assert locked("s") == {"a": "2"}


def test_an_unvaried_stack_installs_its_lock() -> None:
    lock = (stacks.STACKS / "reference.lock").read_text(encoding="utf-8")
    assert constraints(parse("reference")) == lock


def test_a_variation_keeps_the_recipes_pins_and_frees_what_we_added() -> None:
    lines = constraints(parse("reference,transformers==4.49.0")).splitlines()
    assert "transformers==4.49.0" in lines
    assert "transformers==4.45.1" not in lines
    assert "trl==0.11.1" in lines
    # transformers 4.49 needs newer tokenizers than the recipe's month had.
    assert "tokenizers" in lines
    assert not any(line.startswith("tokenizers==") for line in lines)
    moved = constraints(parse("reference,torch==2.5.0")).splitlines()
    assert "torchvision" in moved


class FakeUv:
    """Stands in for uv: records its calls, makes the interpreter, answers a resolution."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fail = ""

    def __call__(self, command: list[str], **options: Any) -> Any:
        done = namedtuple("Done", "returncode stderr")
        words = tuple(command[1:])
        self.calls.append(words)
        if self.fail and words[:2] == ("pip", "install"):
            return done(1, self.fail)
        if words[0] == "venv":
            (Path(words[-1]) / "bin").mkdir(parents=True)
            (Path(words[-1]) / "bin" / "python").write_text("")
        if words[:2] == ("pip", "compile"):
            Path(words[-1]).write_text("transformers==4.49.0\n")
        return done(0, "")

    def verbs(self) -> list[str]:
        return [words[0] if words[0] == "venv" else words[1] for words in self.calls]


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
