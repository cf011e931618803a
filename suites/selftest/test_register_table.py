"""The register's page says what its entries say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.judging.report import register
from harness.records.folders import REGISTER
from suites.commands import Command

ENTRY = """\
schema = 1
title = "{title}"
library = "{library}"
before = "1.0"
first = "{first}"
{more}
reference = "r"
severity = "{severity}"
effect = "Texts a | b differ."
advice = "Upgrade."
evidence = "v"
[[when]]
metric = "text.rendered"
old = "a"
new = "b"
"""


def entry(folder: Path, name: str, first: str, severity: str = "cost", more: str = "") -> None:
    """An entry of the library `tiny`."""
    text = ENTRY.format(title=name, library="tiny", first=first, severity=severity, more=more)
    (folder / f"{name}.toml").write_text(text)


def test_the_page_holds_what_the_verb_writes(harness: Command) -> None:
    assert register.PATH.read_text(encoding="utf-8") == register.page(), (
        "harness register table --write"
    )
    ended = harness("register", "table")
    assert (ended.code, ended.stdout) == (0, register.page())


def test_every_entry_stands_in_it_once() -> None:
    named = re.findall(r"\]\(([\w-]+\.toml)\)", register.page())
    assert sorted(named) == sorted(path.name for path in REGISTER.glob("*.toml"))
    assert named


def test_releases_are_in_their_own_order_and_the_severest_comes_first(tmp_path: Path) -> None:
    entry(tmp_path, "later", "1.10")
    entry(tmp_path, "harmless", "1.9", "cosmetic")
    entry(tmp_path, "grave", "1.9", "wrong training")
    names = re.findall(r"\]\((\w+)\.toml\)", register.page(tmp_path))
    assert names == ["grave", "harmless", "later"]


def test_where_a_change_ends_and_what_it_mends_is_said(tmp_path: Path) -> None:
    entry(tmp_path, "some", "1.9", more='until = "2.1"\nsince = "1.2"')
    assert "| 1.9, mends 1.2, until 2.1 |" in register.page(tmp_path)


def test_a_bar_in_a_text_stays_in_its_cell(tmp_path: Path) -> None:
    entry(tmp_path, "some", "1.9")
    (line,) = (x for x in register.page(tmp_path).splitlines() if "some.toml" in x)
    assert r"a \| b" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == len(register.COLUMNS) + 1


@pytest.mark.parametrize("words", [("register", "table", "--write"), ("lane", "table", "--write")])
def test_an_installed_harness_writes_no_committed_page(
    words: tuple[str, ...], harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.records.folders.IS_CLONE", False)
    ended = harness(*words)
    assert ended.code == 2
    assert "is written in a clone of the harness" in ended.sentence
