"""Counts what the battery tried, and writes its table.

`HARNESS_RELIABILITY_TABLE=FILE` names the table to write at the end: one line a test, how often it
tried, what failed, how long it took. Only a battery that ran whole says anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from suites.reliability.counts import LARGE

HERE = Path(__file__).parent


@dataclass
class Line:
    """One test function. about: the first line of its docstring, else its name. cases: tests of
    it that ran. tried: what they tried inside, where they count that."""

    about: str
    cases: int = 0
    tried: int = 0
    failed: int = 0
    seconds: float = 0.0


LINES = pytest.StashKey[dict[str, Line]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = {}


def _line(item: pytest.Item) -> Line:
    function = item.nodeid.split("[")[0].removeprefix("suites/reliability/")
    words = function.partition("::test_")[2].replace("_", " ")
    return item.config.stash[LINES].setdefault(function, Line(words))


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Called with how much a test tries inside itself; without it a test counts as one."""

    def add(number: int) -> None:
        _line(request.node).tried += number

    return add


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    outcome = yield
    if HERE not in item.path.parents:
        return
    line, report = _line(item), outcome.get_result()
    line.seconds += report.duration
    line.failed += report.failed
    line.cases += report.when == "call"


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = os.environ.get("HARNESS_RELIABILITY_TABLE")
    if target:
        Path(target).write_text(table(session.config.stash[LINES]), encoding="utf-8")


def table(lines: dict[str, Line]) -> str:
    """The battery's figures as a Markdown table; generated, never edited."""
    rows = [
        f"| {name.partition('::')[0].removeprefix('test_').removesuffix('.py')} | {line.about} "
        f"| {max(line.tried, line.cases):,} | {line.failed} | {line.seconds:.1f} |"
        for name, line in sorted(lines.items())
    ]
    total = sum(max(line.tried, line.cases) for line in lines.values())
    failed = sum(line.failed for line in lines.values())
    size = "large" if LARGE else "small"
    return "\n".join(
        [
            "# What the battery of faults tried",
            "",
            "Written by `HARNESS_RELIABILITY_TABLE=FILE pytest suites/reliability`, the "
            f"{size} counts: {total:,} tries, {failed} tests failed.",
            "",
            "| part | test | tried | failed | seconds |",
            "|---|---|---:|---:|---:|",
            *rows,
            "",
        ]
    )
