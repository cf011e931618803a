"""A family is its own files: without them nothing notices that there ever was one, with them it is
there, and no other file is touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from harness.measuring.models import families, lacks_release, of_recipe
from suites.family_files import files_of, naming, stands_on

OTHERS = [name for name in families() if name != of_recipe()[0]]
ASKED = """
import json
from harness.errors import BadInput
from harness.measuring.child.own_truths import oracle
from harness.measuring.models import families, family
from harness.measuring.snapshots import tiny

def resolved(name):
    try:
        return tiny.named(tiny.PREFIX + name)[0]
    except BadInput as refused:
        return str(refused)

print(json.dumps({
    "families": families(),
    "titles": [family(name).TITLE for name in families()],
    "oracles": [name for name in families() if oracle(name)],
    "resolved": {name: resolved(name) for name in NAMES},
}))
"""


@pytest.fixture(scope="module")
def without(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project that knows the recipe's family alone."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for folder in ("harness", "golden", "suites/oracles"):
        shutil.copytree(repository / folder, root / folder, ignore=ignored)
    # By it a clone is told from a wheel; README.md says the same.
    for name in ("pyproject.toml", "README.md", "tox.ini"):
        shutil.copy(repository / name, root / name)
    for name in OTHERS:
        for path in files_of(root, name):
            (root / path).unlink()
    yield root
    shutil.rmtree(root)


def environment(root: Path) -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(root)}


def asked(root: Path) -> dict[str, object]:
    """What the copy says of families, in a process of its own."""
    script = f"NAMES = {OTHERS!r}\n{ASKED}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=root, env=environment(root), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def put_back(repository: Path, root: Path, *names: str) -> list[Path]:
    """Copy families' files to where they were taken from."""
    added = [path for name in names for path in files_of(repository, name)]
    for path in added:
        shutil.copy(repository / path, root / path)
    return added


def test_without_their_files_the_others_never_were(without: Path) -> None:
    own = of_recipe()[0]
    answer = asked(without)
    assert answer["families"] == answer["oracles"] == [own]
    refusals = answer["resolved"]
    assert isinstance(refusals, dict)
    assert all(f"give tiny:{{{own}}}" in refusal for refusal in refusals.values()), refusals


@pytest.mark.parametrize("name", OTHERS)
def test_its_files_alone_bring_a_family(repository: Path, without: Path, name: str) -> None:
    """Whole (`family` checks it), with an oracle, and served as a tiny model."""
    brought = (name, *(o for o in stands_on(repository, name) if o != of_recipe()[0]))
    added = put_back(repository, without, *brought)
    try:
        answer = asked(without)
        together = sorted([of_recipe()[0], *brought])
        assert answer["families"] == answer["oracles"] == together
        refusals = answer["resolved"]
        assert isinstance(refusals, dict)
        assert sorted(n for n, served in refusals.items() if served == n) == sorted(brought)
    finally:
        for path in added:
            (without / path).unlink()


def test_a_short_one_is_two_files(repository: Path) -> None:
    assert files_of(repository, "qwen2_5_vl") == [
        Path("harness/measuring/models/qwen2_5_vl.py"),
        Path("suites/oracles/qwen2_5_vl.py"),
    ]


def test_a_family_can_be_two_files_that_no_other_names(repository: Path) -> None:
    """By hand nothing else was written for it: not in the harness, not in a test."""
    alone = [name for name in OTHERS if not naming(repository, name)]
    assert [name for name in alone if len(files_of(repository, name)) == 2]
    # The search finds what it is for.
    trained = Path("suites/trainings/bf16_checkpointed.py")
    assert trained in naming(repository, "qwen2_5_vl")


def test_whose_oracle_is_an_earlier_familys() -> None:
    root = Path(__file__).parents[2]
    assert stands_on(root, "gemma4") == ["gemma3"]
    assert stands_on(root, "gemma3") == []


@pytest.mark.slow
def test_its_two_files_are_judged_by_the_command(
    repository: Path, without: Path, tmp_path: Path
) -> None:
    """Texts and ids of a tiny model against the oracle: exit code 0 says that all is as it should
    be."""
    name = "qwen2_5_vl"
    lack = lacks_release(name)
    if lack:
        pytest.skip(f"NOT_RUN: {lack}")
    added = put_back(repository, without, name)
    command = [sys.executable, "-m", "harness", "probe", "text", "ids"]
    command += ["--model", f"tiny:{name}", "--out", str(tmp_path / "out")]
    try:
        done = subprocess.run(
            command, cwd=without, env=environment(without), capture_output=True, check=False
        )
    finally:
        for path in added:
            (without / path).unlink()
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
