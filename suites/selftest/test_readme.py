"""Every command in the README says where it is executed, and the ones named here are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.cli import build_parser
from harness.commands import _help
from suites.commands import process

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- (?P<label>[^>]*) -->\n)?```sh\n(?P<body>.*?)```", re.S)
BLOCKS = [(m["label"] or "", m["body"]) for m in BLOCK.finditer(README)]


def commands(body: str) -> list[str]:
    """The lines of a block without their comments."""
    lines = (line.split("  #")[0].strip() for line in body.splitlines())
    return [line for line in lines if line]


LABELLED = [(label, line) for label, body in BLOCKS for line in commands(body)]


def test_every_block_has_a_label() -> None:
    assert BLOCKS
    assert all(re.match(r"(executed|parsed): \S", label) for label, _ in BLOCKS), BLOCKS


@pytest.mark.parametrize(
    "line", [line for label, line in LABELLED if label.startswith("executed: suites/selftest")]
)
def test_commands_labelled_as_executed_here_run(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "harness"
    done = process(*words[1:])
    assert done.code in {0, 3}, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", [x for label, x in LABELLED if label.startswith("parsed")])
def test_commands_that_are_not_executed_parse(line: str, repository: Path) -> None:
    words = [w for w in shlex.split(line) if not re.match(r"[A-Z_]+=", w)]
    if words[0] == "tox":
        environments = (repository / "tox.ini").read_text(encoding="utf-8")
        assert f"[testenv:{words[words.index('-e') + 1]}]" in environments
        return
    assert words[0] == "harness"
    build_parser().parse_args(words[1:])


@pytest.mark.parametrize("line", [x for label, x in LABELLED if label == "executed: ci"])
def test_ci_runs_the_same_environments(line: str, repository: Path) -> None:
    script = (repository / ".ci" / "run").read_text(encoding="utf-8")
    for environment in re.findall(r"tox -e (\S+)", line):
        assert re.search(rf'tox" -q -e {environment}\b', script)
    if "pytest" in line:
        assert line in script


def test_every_shown_flag_exists() -> None:
    parser = build_parser()
    known = parser.format_help()
    for action in parser._subparsers._group_actions:  # type: ignore[union-attr]
        for sub in action.choices.values():  # type: ignore[union-attr]
            known += sub.format_help()
    for flag in re.findall(r"`(--[a-z-]+)`", README):
        assert flag in known, flag


def test_it_is_short() -> None:
    assert len(README.encode()) <= 8192


def test_files_that_the_readme_names_exist(repository: Path) -> None:
    for name in re.findall(r"\]\(([^)]+)\)", README):
        assert (repository / name).is_file(), name


@pytest.mark.parametrize("text", [_help.COMPARE, _help.BISECT], ids=["compare", "bisect"])
def test_the_examples_of_a_help_parse(text: str) -> None:
    examples = [x.strip() for x in text.splitlines() if x.startswith("  harness ")]
    assert len(examples) >= 4
    for line in examples:
        build_parser().parse_args(shlex.split(line)[1:])


# A path of ours in a text, as `suites/oracles/bpe.py`; one with a placeholder in it is none.
OURS = re.compile(
    r"(?<![\w./<-])(?:harness|suites|golden|reports|\.ci)/[\w./<>*-]*\w(?=[^\w/<>*]|$)"
)
MODULE = re.compile(r"python3? -m (harness[\w.]*\w)(?![\w.])")
TEXTS = {".py", ".md", ".toml", ".in", ".ini"}
# Made by whoever runs a command that is shown, beside their own files too, or builds the wheel.
MADE = re.compile(r"reports/\d{8}T|reports/(lane|x)\b|harness/(golden|oracles)$|golden/audits$")


def prose(repository: Path) -> list[Path]:
    folders = [repository / name for name in ("harness", "suites", "golden", ".ci")]
    files = [f for folder in folders for f in folder.rglob("*") if f.suffix in TEXTS]
    return [
        *files,
        repository / ".ci" / "run",
        *(f for f in repository.iterdir() if f.suffix in TEXTS),
    ]


def test_paths_and_modules_that_any_text_names_exist(repository: Path) -> None:
    gone = []
    for file in prose(repository):
        text = file.read_text(encoding="utf-8")
        paths = [p for p in OURS.findall(text) if not re.search(r"[<>*]|NAME", p)]
        gone += [
            f"{file}: {p}" for p in paths if not MADE.match(p) and not (repository / p).exists()
        ]
        for module in MODULE.findall(text):
            place = repository / Path(*module.split("."))
            if not place.with_suffix(".py").is_file() and not (place / "__main__.py").is_file():
                gone.append(f"{file}: python -m {module}")
    assert not gone
