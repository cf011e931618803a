"""Counts what the battery tried.

`HARNESS_RELIABILITY_FIGURES=FILE` keeps what each test function tried, what failed and how long it
took; a battery that runs in parts adds them up there, and a part that runs again takes the place of
its earlier figures. table.py makes TABLE.md of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from suites.reliability.table import Line, merged

HERE = Path(__file__).parent
LINES = pytest.StashKey[dict[str, Line]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = {}


def _line(item: pytest.Item) -> Line:
    function = item.nodeid.split("[")[0].removeprefix("suites/reliability/")
    return item.config.stash[LINES].setdefault(function, Line())


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
    report = outcome.get_result()
    if report.skipped:
        return
    line = _line(item)
    line.seconds += report.duration
    line.failed += report.failed
    line.cases += report.when == "call"


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = os.environ.get("HARNESS_RELIABILITY_FIGURES")
    if target:
        ran = {name: line for name, line in session.config.stash[LINES].items() if line.cases}
        merged(Path(target), ran)
