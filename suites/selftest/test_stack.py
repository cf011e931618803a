"""Stacks: how they are written, what they promise, what uv is asked for; uv itself is replaced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.environments import build as environments
from harness.judging.environments import stack as stacks
from harness.judging.environments.stack import (
    Stack,
    constraints,
    declared,
    locked,
    parse,
    pins,
)
from suites.selftest.stacks import FakeUv

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


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeUv:
    fake = FakeUv()
    monkeypatch.setattr(environments.bound, "run", fake)
    monkeypatch.setattr(environments, "uv_binary", lambda: "uv")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return fake
