"""Wrong command lines and snapshots: one sentence, the right code, nothing written."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.report.run.data import picture_uri
from harness.measuring.snapshots.source import inspect
from suites.commands import Command
from suites.reliability.memory import cost
from suites.selftest import snapshots

pytestmark = pytest.mark.usefixtures("no_variables")


def there(folder: Path) -> list[Path]:
    """All that lies in a folder but the lock of one who looks into a run's."""
    return sorted(p for p in folder.rglob("*") if p.parts[-2:] != ("work", "lock"))


def refused(harness: Command, out: Path, *words: str | Path) -> str:
    before = there(out.parent)
    ended = harness(*words)
    assert ended.code == 2, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    assert "Traceback" not in ended.stderr
    assert there(out.parent) == before
    return ended.sentence


NUMBERS = ["0", "-1", "1.5", "x", "", " ", "１", "9" * 20, "9" * 5000, "1e3", "0x10", "+1", "a\0b"]
VERBS = {
    "run": ("--threads", "--max-steps", "--micro-batch", "--accumulation"),
    "probe": ("--threads",),
    "compare": ("--threads",),
}
WRONG = [
    (verb, option, number)
    for verb, options in VERBS.items()
    for option, number in itertools.product(options, NUMBERS)
]


@pytest.mark.parametrize(("verb", "option", "number"), WRONG, ids=range(len(WRONG)))
def test_numbers_that_are_none(
    harness: Command, tmp_path: Path, verb: str, option: str, number: str
) -> None:
    sides = ["reference", "latest"] if verb == "compare" else []
    sentence = refused(harness, tmp_path / "out", verb, *sides, f"{option}={number}")
    assert option in sentence or number[:5] in sentence
    assert len(sentence) < 300


def loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def two_links(path: Path) -> Path:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)
    return path / "below"


def file(path: Path) -> Path:
    path.write_text("")
    return path


def below_a_file(path: Path) -> Path:
    return file(path) / "out"


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


OUTS = [
    loop,
    two_links,
    file,
    below_a_file,
    fifo,
    lambda path: Path("/dev/null"),
    lambda path: Path("/proc/out"),
    lambda path: path / ("x" * 300),
    lambda path: Path("a\0b"),
]


@pytest.mark.parametrize("verb", ["run", "probe", "compare", "golden"])
@pytest.mark.parametrize("make", OUTS, ids=range(len(OUTS)))
def test_an_out_that_cannot_be(harness: Command, tmp_path: Path, verb: str, make: Any) -> None:
    words = {
        "run": ["run"],
        "probe": ["probe", "environment"],
        "compare": ["compare", "reference", "latest"],
        "golden": ["golden", "check"],
    }[verb]
    out = make(tmp_path / "out")
    refused(harness, tmp_path / "nothing", *words, "--out", out)


def test_a_verb_without_resume_does_not_advise_it(harness: Command, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "--resume" not in refused(
        harness, tmp_path / "out", "probe", "environment", "--out", tmp_path
    )
    assert "goes on with --resume" in refused(harness, tmp_path / "out", "run", "--out", tmp_path)


# Snapshots

CONFIGS: dict[str, dict[str, Any]] = {
    "10⁹ layers": {"num_hidden_layers": 10**9},
    "10⁹ blocks": {"vision_config": {"depth": 10**9}},
    "a word": {"num_hidden_layers": "many"},
    "null": {"num_hidden_layers": None},
    "a list": {"num_hidden_layers": [2]},
    "below zero": {"num_hidden_layers": -1},
    "infinite": {"num_hidden_layers": float("inf")},
    "vision is a number": {"vision_config": 5},
    "vision is a list": {"vision_config": ["depth"]},
    "text is a word": {"text_config": "small"},
    "another type": {"model_type": ["qwen2_vl"]},
    "no type": {"model_type": None},
    "its own code": {"auto_map": {"AutoModel": "modeling.Model"}},
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_cannot_be_used(tmp_path: Path, change: dict[str, Any]) -> None:
    files = snapshots.files()
    config = {**json.loads(files["config.json"]), **change}
    files["config.json"] = json.dumps(config).encode()
    folder = snapshots.write(tmp_path / "mine", files)
    took = cost(lambda: inspect(folder, "snapshot:mine"))
    assert str(folder) in took.refusal
    assert len(took.refusal) < 500
    assert took.megabytes < 50
    assert took.seconds < 5


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused_wherever_it_is_asked_for(tmp_path: Path, name: str) -> None:
    files = snapshots.files()
    content = {**json.loads(files[name]), "auto_map": {"AutoProcessor": "processing.Processor"}}
    files[name] = json.dumps(content).encode()
    folder = snapshots.write(tmp_path / "mine", files)
    with pytest.raises(BadInput, match="auto_map"):
        inspect(folder, "snapshot:mine")


RAW = [b"[]", b"null", b"5", b"", b"\xff", b"[" * 100_000, b"9" * 10_000]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
)
def test_a_snapshots_file_of_another_shape_is_named(tmp_path: Path, name: str, raw: bytes) -> None:
    folder = snapshots.write(tmp_path / "mine", {**snapshots.files(), name: raw})
    with pytest.raises(BadInput, match=name):
        inspect(folder, "snapshot:mine")


NAMES = ["a\0b", "../x", "/etc/passwd", "x" * 5000, "loop", ".", ""]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_pictures_path_that_is_none_is_a_reason(tmp_path: Path, name: str) -> None:
    loop(tmp_path / "loop")
    with pytest.raises(BadInput, match="picture"):
        picture_uri(tmp_path / name, tmp_path)
