"""Which tests run which line of the judged modules, and how long each takes.

Measured once by coverage.py with a context a test, kept in `build/mutation/`; a child process that
a test starts is not seen, so its tests count for nothing there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from harness.records.files import read_object
from harness.records.typed import build
from suites.mutation import targets
from suites.mutation.targets import OF_ALL, ROOT, TARGETS, TESTS

if TYPE_CHECKING:  # coverage is there where faults are tried, and nowhere else
    from coverage import Coverage

KEPT = targets.KEPT / "covering.json"
# What one fault is tried with at most, in seconds of its tests by themselves.
LONGEST = 30.0


@dataclass(frozen=True)
class Covering:
    """lines: by module and line, the tests that run it; line 0: all of the module's. early: by
    module, the lines that run before any test, when tests are imported and collected. seconds:
    by test."""

    lines: Mapping[str, Mapping[str, tuple[str, ...]]]
    early: Mapping[str, tuple[int, ...]]
    seconds: Mapping[str, float]

    def is_early(self, module: str, line: int) -> bool:
        """Whether a line runs before the tests, which then may hold what it gave."""
        return line in self.early[module]

    def tests(
        self, module: str, line: int, *, imported: bool = False
    ) -> tuple[tuple[str, ...], ...]:
        """The tests to try a fault in a line with, the likeliest to notice first: by file, those
        that name the module before others, the quickest within.

        imported: with the module imported around the fault. What runs then concerns every test of
        the module, and those that read what it gave without running a line of it.
        """
        here = self.lines[module]
        tests: Iterable[str] = here.get(str(line), ())
        if imported and (not tests or self.is_early(module, line)):
            tests = {*here["0"], *(test for test in self.seconds if _reads(test, module))}
        files: dict[str, list[str]] = {}
        for test in sorted(tests, key=lambda test: (self.seconds[test], test)):
            files.setdefault(test.partition("::")[0], []).append(test)
        ranked = sorted(files, key=lambda file: (not _names(file, module), -len(files[file]), file))
        spent, chosen = 0.0, []
        for file in ranked:
            kept = []
            for test in files[file]:
                spent += self.seconds[test]
                if spent <= LONGEST or not chosen:
                    kept.append(test)
            if kept:
                chosen.append(tuple(kept))
        return tuple(chosen)


def _reads(test: str, module: str) -> bool:
    file = test.partition("::")[0]
    return file in OF_ALL or _names(file, module)


@cache
def _names(file: str, module: str) -> bool:
    dotted = module.removesuffix(".py").replace("/", ".")
    return dotted in (ROOT / file).read_text(encoding="utf-8")


class _Watch:
    """A pytest plugin: every test is a context of its own."""

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """From here on lines are this test's."""
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """How long it took, its fixtures included."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def measure(tests: Sequence[str] = TESTS) -> Covering:
    """Run tests once. One that fails without any fault says nothing of a fault: left out."""
    from coverage import Coverage

    coverage = Coverage(data_file=None, include=[str(ROOT / each) for each in TARGETS])
    coverage.start()
    watch = _Watch(coverage)
    pytest.main([*OPTIONS, *tests], plugins=[watch])
    coverage.stop()
    data = coverage.get_data()
    lines: dict[str, dict[str, tuple[str, ...]]] = {}
    early: dict[str, tuple[int, ...]] = {}
    for target in TARGETS:
        by_line = data.contexts_by_lineno(str(ROOT / target))
        good = {
            str(line): tuple(sorted({*contexts} - {"", *watch.failed}))
            for line, contexts in by_line.items()
        }
        good["0"] = tuple(sorted({test for tests in good.values() for test in tests}))
        lines[target] = good
        early[target] = tuple(sorted(line for line, of in by_line.items() if "" in of))
    good_ones = {k: round(v, 3) for k, v in watch.seconds.items() if k not in watch.failed}
    return Covering(lines, early, good_ones)


OPTIONS: Sequence[str] = (
    *("-q", "-m", "not slow", "-p", "no:cacheprovider", "--benchmark-disable"),
    # The one that needs torch.
    "--ignore=suites/selftest/test_interrupts.py",
)


def merged(old: Covering, new: Covering) -> Covering:
    """The old one with what was measured again of some files."""
    again = {test.partition("::")[0] for test in new.seconds}

    def stays(test: str) -> bool:
        return test.partition("::")[0] not in again

    lines: dict[str, dict[str, tuple[str, ...]]] = {}
    for module in TARGETS:
        here, there = old.lines.get(module, {}), new.lines[module]
        lines[module] = {
            line: tuple(sorted({*filter(stays, here.get(line, ())), *there.get(line, ())}))
            for line in {*here, *there}
        }
    early = {
        module: tuple(sorted({*old.early.get(module, ()), *new.early[module]}))
        for module in TARGETS
    }
    seconds = {test: took for test, took in old.seconds.items() if stays(test)}
    return Covering(lines, early, {**seconds, **new.seconds})


@cache
def kept() -> Covering:
    """Those that were measured last. Raises BadInput where there are none."""
    return build(Covering, read_object(KEPT, "run it with --measure"))


def keep(covering: Covering) -> None:
    """For the next run."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(asdict(covering)), encoding="utf-8")
    kept.cache_clear()
