"""Stacks that a user has: files, environments, checkouts, git references; each by its content."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.environments.build import environment_for, is_built
from harness.judging.environments.checkout import read_checkout
from harness.judging.environments.identity import identified, stack_label
from harness.judging.environments.references import address_of
from harness.judging.environments.stack import Stack, constraints, parse
from suites.selftest.checkouts import git


def test_a_checkout_is_known_by_what_git_would_take(checkout: Path) -> None:
    first = read_checkout(checkout)
    assert first.name == "tiny-thing"
    assert {str(path) for path in first.files} == {
        ".gitignore",
        "pyproject.toml",
        "tiny_thing.py",
    }
    (checkout / "ignored.txt").write_text("x")
    assert read_checkout(checkout).digest == first.digest
    (checkout / "untracked.py").write_text("x = 1\n")
    untracked = read_checkout(checkout).digest
    (checkout / "tiny_thing.py").write_text("SAYS = 'second'\n")
    edited = read_checkout(checkout).digest
    (checkout / "tiny_thing.py").rename(checkout / "renamed.py")
    renamed = read_checkout(checkout).digest
    (checkout / "renamed.py").chmod(0o755)
    digests = {first.digest, untracked, edited, renamed, read_checkout(checkout).digest}
    assert len(digests) == 5


def test_a_folder_without_git_leaves_out_what_builds_leave_behind(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("from setuptools import setup\nsetup(name='Tiny.Thing')\n")
    (tmp_path / "tiny.py").write_text("")
    for left in ("build/lib/tiny.py", "__pycache__/tiny.pyc", "x.egg-info/PKG-INFO", ".venv/a.py"):
        (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / left).write_text("")
    seen = read_checkout(tmp_path)
    assert seen.name == "tiny-thing"
    assert [str(path) for path in seen.files] == ["setup.py", "tiny.py"]


@pytest.mark.parametrize("way", ["path", "url", "named path"])
def test_a_checkout_stands_for_its_package_however_it_is_written(
    checkout: Path, small: Path, way: str
) -> None:
    (small / "small.in").write_text("packaging  # recipe\ntiny-thing==0.1  # recipe\n")
    words = {
        "path": str(checkout),
        "url": f"tiny-thing @ {checkout.as_uri()}",
        "named path": f"tiny-thing @ {checkout}",
    }
    text = f"small,{words[way]}"
    assert parse(text) == Stack("small", (f"tiny-thing @ {checkout.as_uri()}",))
    digest = read_checkout(checkout).digest
    now = identified(text)
    assert now.label == f"small,{checkout}#{digest}"
    assert constraints(now.stack).splitlines() == [
        "packaging",
        f"tiny-thing @ {now.checkouts[0].copy.as_uri()}",
    ]
    assert identified(now.label).label == now.label
    (checkout / "tiny_thing.py").write_text("SAYS = 'second'\n")
    with pytest.raises(BadInput, match=f"was #{digest} when that was written and is #"):
        identified(now.label)
    # Its own measuring process reads the name long after the copy was made.
    assert parse(now.label).name == "small"


@pytest.mark.slow
def test_an_edit_of_a_checkout_is_another_environment(checkout: Path, small: Path) -> None:
    """uv by itself would go on with what it built before."""

    def says(text: str) -> str:
        python = environment_for(text)
        code = "import tiny_thing; print(tiny_thing.SAYS)"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    text = f"small,tiny-thing @ {checkout.as_uri()}"
    before = git(checkout, "status", "--porcelain", "--ignored")
    assert not is_built(text)
    assert says(text) == "first"
    assert is_built(text)
    label = stack_label(text)
    (checkout / "tiny_thing.py").write_text("SAYS = 'second'\n")
    assert not is_built(text)
    assert says(text) == "second"
    assert stack_label(text) != label
    git(checkout, "checkout", "-q", "tiny_thing.py")
    assert is_built(text)
    assert says(f"small,{checkout}") == "first"
    assert git(checkout, "status", "--porcelain", "--ignored") == before


@pytest.mark.slow
def test_a_git_reference_is_held_at_its_commit(checkout: Path, small: Path) -> None:
    address = f"git+{checkout.as_uri()}"
    first = git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "-a", "v1", "-m", "one")
    text = f"small,tiny-thing @ {address}@main"
    label = stack_label(text)
    assert label == f"small,tiny-thing @ {address}@{first}"
    assert stack_label(f"small,tiny-thing @ {address}@v1") == label
    assert stack_label(f"small,tiny-thing @ {address}") == label
    assert stack_label(label) == label
    python = environment_for(text)
    code = "import tiny_thing; print(tiny_thing.SAYS)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "first"
    assert is_built(label)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("git+https://a.example/x/trl.git@v1", ("https://a.example/x/trl.git", "v1", "")),
        ("git+https://a.example/x/trl", ("https://a.example/x/trl", "", "")),
        ("git+ssh://git@a.example/x/trl@b", ("ssh://git@a.example/x/trl", "b", "")),
        ("git+ssh://git@a.example/x/trl", ("ssh://git@a.example/x/trl", "", "")),
        ("git+file:///x/trl@b#subdirectory=a", ("file:///x/trl", "b", "subdirectory=a")),
    ],
)
def test_the_parts_of_a_git_address(url: str, parts: tuple[str, ...]) -> None:
    address = address_of(url)
    assert (address.url, address.reference, address.fragment) == parts
