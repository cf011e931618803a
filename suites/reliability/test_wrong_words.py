"""Every option of every verb given wrongly, words that do not go together, files that are none: one
sentence, exit 2, nothing written."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli import build_parser
from harness.commands import verbs
from suites.commands import Command, process
from suites.reliability.counts import large
from suites.reliability.test_command_lines import refused

pytestmark = pytest.mark.usefixtures("no_variables")

# What a verb needs besides, so that only the one option is wrong.
NEEDED = {
    "compare": ["reference", "latest"],
    "bisect": ["trl", "--good", "1.0", "--bad", "1.1", "--metric", "text.a"],
    "audit": [__file__],
    "report": ["nowhere"],
    "train": ["nowhere.json", "nowhere"],
    "golden check": [],
    "golden update": ["text.a", "--reason", "why"],
    "golden calibrate": ["text.a"],
    "lane ladder": ["nowhere", "nowhere.json", "--like", "latest"],
}
# These hand their words on to a process of their own, which the last test asks.
HANDED_ON = ("lane measure", "lane contest", "lane whole", "lane several", "lane killed")


def parsers(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb with its parser, those below a verb too."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield name, parser
    for action in inner:
        for word, one in action.choices.items():
            yield from parsers(one, f"{name} {word}".strip())


def wrong() -> Iterator[list[str]]:
    """Command lines that are wrong in one place each."""
    for name, parser in parsers(build_parser()):
        if name in HANDED_ON:
            continue
        words = [*name.split(), *NEEDED.get(name, [])]
        yield [*words, "--no-such-option"]
        yield [*words, "--out", ""] if name != "register table" else [*words, "--write=yes"]
        for action in parser._actions:
            option = next((o for o in action.option_strings if o.startswith("--")), "")
            if not option or option == "--help":
                continue
            if action.nargs == 0:
                yield [*words, f"{option}=yes"]
                continue
            yield [*words, option]
            if action.choices is not None:
                yield [*words, f"{option}=no such"]
            elif action.type is not None:
                yield [*words, f"{option}= "]
                yield [*words, f"{option}=a\0b"]


LINES = [*wrong()]


def test_there_are_enough_of_them() -> None:
    """With those of test_command_lines, which asks for numbers, folders and files."""
    assert len(LINES) >= 150
    assert {words[0] for words in LINES} == set(verbs())


@pytest.mark.parametrize("words", LINES, ids=range(len(LINES)))
def test_an_option_that_is_wrong(harness: Command, tmp_path: Path, words: list[str]) -> None:
    refused(harness, tmp_path / "out", *words)


TOGETHER = [
    [],
    ["no-such-verb"],
    ["run", "extra"],
    ["run", "--resume", "no-such-run"],
    ["run", "--stack", "no-such-stack"],
    ["run", "--stack", "reference,"],
    ["run", "--stack", "reference,no such=="],
    ["run", "--stack", "python:/no/such"],
    ["run", "--stack", "requirements:/no/such"],
    ["run", "--stack", "lock:/no/such"],
    ["run", "--model", "/no/such"],
    ["run", "--model", "org/name@main"],
    ["run", "--data", "/no/such"],
    ["run", "--data", "org/name@main"],
    ["run", "--accept", "/no/such"],
    ["run", "--recipe", "none"],
    ["run", "--columns", "a"],
    ["run", "--columns", "=a"],
    ["run", "--split", "a,b,c"],
    ["run", "--split", ","],
    ["probe", "no-such-rung"],
    ["probe", "text", "no-such-rung"],
    ["probe", "--training", "/no/such.py"],
    ["probe", "--training", __file__, "--model", "stand-in"],
    ["compare", "reference"],
    ["compare", "/no/such/", "/no/such/"],
    ["compare", "reference", "latest", "--rungs", "99"],
    ["compare", "reference", "latest", "--rungs", "9-2"],
    ["compare", "reference", "latest", "--rungs", "a-b"],
    ["compare", "reference", "latest", "--resume", "/no/such"],
    ["compare", "reference", "latest", "--limit", "0"],
    ["compare", "reference", "latest", "--limit", "nan"],
    ["bisect"],
    ["bisect", "trl"],
    ["bisect", "trl", "--good", "1.0"],
    ["bisect", "trl", "--good", "1.0", "--bad", "1.1"],
    ["bisect", "trl", "--good", "x y", "--bad", "1.1", "--metric", "text.a", "--wheels", "/tmp"],
    ["bisect", "--from-compare", "/no/such"],
    ["bisect", "trl", "--from-compare", "/no/such"],
    ["bisect", "--from-compare", "/no/such", "--pre"],
    ["bisect", "trl", "--good", "1", "--bad", "2", "--metric", "text.a", "--band", "-1"],
    ["bisect", "trl", "--good", "1", "--bad", "2", "--metric", "nonsense"],
    ["bisect", "trl", "--good", "1", "--bad", "2", "--finding", "no.such"],
    ["bisect", "trl", "--good", "1", "--bad", "2", "--metric", "text.a", "--wheels", "/no/such"],
    ["audit"],
    ["audit", "/no/such.py"],
    ["audit", "/tmp"],
    ["audit", __file__, "--python", "/x", "--stack", "latest"],
    ["audit", __file__, "--reason", "why"],
    ["audit", __file__, "--steps", "0"],
    ["report"],
    ["report", "/no/such"],
    ["report", "/tmp", "/tmp", "--out", "x"],
    ["golden"],
    ["golden", "update"],
    ["golden", "update", "text.a"],
    ["golden", "update", "text.a", "--reason", " "],
    ["golden", "calibrate", "text.a", "--runs", "0"],
    ["golden", "no-such-verb"],
    ["lane"],
    ["lane", "ladder", "/no/such", "x"],
    ["lane", "ladder", "/no/such", "/tmp/x.json", "--like", "latest"],
    ["register"],
    ["train"],
    ["train", "spec.json"],
    ["doctor", "--stack", "no-such-stack"],
]


@pytest.mark.parametrize("words", TOGETHER, ids=range(len(TOGETHER)))
def test_words_that_do_not_go_together(
    harness: Command, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(harness, tmp_path / "out", *words)


BISECT = ["bisect", "trl", "--good", "1.0", "--bad", "1.1", "--metric", "text.a"]
LOOPS = [
    ["watch", "--accept", "LOOP"],
    [*BISECT, "--wheels", "LOOP"],
    ["compare", "reference,LOOP.whl", "latest"],
    ["compare", "reference,LOOP", "latest"],
    ["compare", "requirements:LOOP", "latest"],
    ["compare", "lock:LOOP/uv.lock", "latest"],
    ["compare", "python:LOOP", "latest"],
    ["compare", "LOOP/", "LOOP/"],
    ["compare", "reference", "latest", "--resume", "LOOP"],
    ["run", "--model", "LOOP"],
    ["run", "--model", "/x", "--data", "LOOP"],
    ["run", "--accept", "LOOP"],
    ["run", "--resume", "LOOP"],
    ["report", "LOOP"],
    ["audit", "LOOP"],
    ["audit", __file__, "--golden", "LOOP", "--keep"],
    ["matrix", "LOOP"],
    ["golden", "check", "--out", "LOOP"],
]


@pytest.mark.parametrize("words", LOOPS, ids=range(len(LOOPS)))
def test_a_link_to_itself(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Wherever a path is given."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for name in ("loop", "loop.whl"):
        (tmp_path / name).symlink_to(tmp_path / name)
    refused(harness, tmp_path / "out", *(w.replace("LOOP", f"{tmp_path}/loop") for w in words))


def test_a_cache_that_is_a_link_to_itself(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "loop"))
    out = tmp_path / "out"
    ended = harness("compare", "reference,trl==0.12.0", "latest", "--out", out)
    assert ended.code == 2
    assert "loop" in ended.sentence
    assert not out.exists()


RAW = [b"", b"[]", b"null", b"5", b'"x"', b"{}", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000]
FILES = ("text.json", "run.json", "work/context.json", "plan.json", "comparison.json", "accept")


BAD = [*itertools.product(FILES, RAW)]


@pytest.mark.parametrize(("name", "raw"), BAD, ids=range(len(BAD)))
def test_a_file_that_is_none(harness: Command, tmp_path: Path, name: str, raw: bytes) -> None:
    """Each file of ours that a command reads, as something else."""
    path = tmp_path / "dir" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(raw)
    folder = tmp_path / "dir"
    words: dict[str, list[str | Path]] = {
        "text.json": ["report", folder],
        "run.json": ["report", folder],
        "work/context.json": ["run", "--resume", folder],
        "plan.json": ["compare", "reference", "latest", "--resume", folder],
        "comparison.json": ["bisect", "--from-compare", folder],
        "accept": ["report", folder, "--accept", path],
    }
    sentence = refused(harness, tmp_path / "out", *words[name])
    if name not in {"run.json", "accept"}:  # without a record there is nothing to report
        assert path.name in sentence or str(folder) in sentence


@large
@pytest.mark.parametrize("verb", ["measure", "contest", "whole", "several"])
def test_words_that_are_handed_on(tmp_path: Path, verb: str, tried: Callable[[int], None]) -> None:
    """The measuring process refuses them like any other verb."""
    for words in (["--no-such-option"], ["no-such-case"], ["--tokens", "x"], ["--model", ""]):
        ended = process("lane", verb, *words, "--out", tmp_path / "out" / "x.json")
        assert ended.code == 2, ended.stderr
        assert "Traceback" not in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert not (tmp_path / "out").exists()
        tried(1)


@large
def test_a_training_without_a_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"schema": 1}))
    for name in ("none.json", "spec.json"):
        ended = process("train", tmp_path / name, tmp_path / "out")
        assert ended.code == 2
        assert name in ended.sentence
        assert not (tmp_path / "out").exists()
