"""Ranges of releases, from a list of files and from a folder of wheels."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from harness.errors import BadInput
from harness.judging.environments.releases import Release, _ordered, between, in_folder

HERE = "x-{}-py3-none-any.whl"
# version, package type, yanked, requires-python, file
FILES: list[tuple[str | None, str | None, bool, str | None, str]] = [
    ("1.0", "wheel", False, ">=3.8", HERE.format("1.0")),
    ("1.10", "wheel", False, None, HERE.format("1.10")),
    ("1.2", "wheel", False, ">=3.8", HERE.format("1.2")),
    ("1.3", "wheel", True, None, HERE.format("1.3")),
    ("1.4rc1", "wheel", False, None, HERE.format("1.4rc1")),
    ("1.5", "wheel", False, ">=4", HERE.format("1.5")),
    ("1.6", "wheel", False, None, "x-1.6-cp27-cp27m-win32.whl"),
    ("1.7", "sdist", False, None, "x-1.7.tar.gz"),
    ("1.8", "wheel", True, None, HERE.format("1.8")),
    ("1.8", "sdist", False, None, "x-1.8.tar.gz"),
    ("not a version", "wheel", False, None, "x-y-py3-none-any.whl"),
    (None, None, False, None, "x.exe"),
]


def names(releases: tuple[Release, ...]) -> list[str]:
    return [str(r.version) for r in releases]


def test_order_is_by_version_and_what_this_python_cannot_install_is_left_out() -> None:
    assert names(_ordered(FILES)) == ["1.0", "1.2", "1.3", "1.4rc1", "1.7", "1.8", "1.10"]


def test_final_releases_only_unless_asked() -> None:
    releases = _ordered(FILES)
    assert names(between(releases, "x", "1.0", "1.10")) == ["1.0", "1.2", "1.7", "1.8", "1.10"]
    everything = between(releases, "x", "1.0", "1.10", pre=True, yanked=True)
    assert names(everything) == ["1.0", "1.2", "1.3", "1.4rc1", "1.7", "1.8", "1.10"]
    # An end that the user names is kept, yanked or not.
    assert names(between(releases, "x", "1.3", "1.7")) == ["1.3", "1.7"]


def test_good_may_be_the_newer_end() -> None:
    assert names(between(_ordered(FILES), "x", "1.8", "1.0")) == ["1.8", "1.7", "1.2", "1.0"]


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("1.9", "1.10", "--good 1.9: x has no such release for this Python"),
        ("1.0", "banana", "--bad 'banana' is no version"),
        ("1.0", "1.0", "both 1.0"),
    ],
)
def test_ends_that_cannot_be(good: str, bad: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        between(_ordered(FILES), "x", good, bad)


def test_a_folder_of_wheels(tmp_path: Path) -> None:
    for name in (
        "my_x-1.10-py3-none-any.whl",
        "my_x-1.9-py3-none-any.whl",
        "y-1-py3-none-any.whl",
        # Left out: for another Python, another machine, no wheel at all.
        "my_x-1.9-cp27-cp27m-win32.whl",
        "my_x-1.8-cp27-cp27m-win32.whl",
        "junk.whl",
    ):
        (tmp_path / name).touch()
    releases = in_folder("My.X", tmp_path)
    assert names(releases) == ["1.9", "1.10"]
    assert releases[0].requirement("my-x") == str(tmp_path / "my_x-1.9-py3-none-any.whl")
    assert Release(Version("2")).requirement("x") == "x==2"
    with pytest.raises(BadInput, match="holds no wheel of z"):
        in_folder("z", tmp_path)
    with pytest.raises(BadInput, match="There is no folder"):
        in_folder("z", tmp_path / "none")
