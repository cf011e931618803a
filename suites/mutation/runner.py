"""Tries faults: each in a forked process of its own, nothing on disk is touched.

A fault in a function replaces that function's code after everything is imported and collected; a
fault outside functions is tried with the project imported around it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from suites.mutation.covering import OPTIONS, Covering
from suites.mutation.operators import Mutant
from suites.mutation.results import Fault, Outcome
from suites.mutation.swapped import Alive, alive, swap, swapped
from suites.mutation.targets import ROOT

OURS = frozenset({"harness", "suites"})
# A fault may make a loop endless: this many times what its tests take, and what a start may take.
PATIENCE, START = 10.0, 30.0

Job = tuple[str, Mutant]


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a source of its own."""

    def __init__(self, path: str, source: str) -> None:
        self.path, self.source = str(ROOT / path), source
        self.name = path.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self.source, self.path, "exec"), module.__dict__)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None


def fault(mutant: Mutant, outcome: Outcome, test: str = "") -> Fault:
    """What became of one."""
    place = (mutant.operator, mutant.occurrence, mutant.line, mutant.before, mutant.after)
    return Fault(*place, outcome, test)


@dataclass
class Swapping:
    """A pytest plugin that, in place of a session's tests, tries faults in functions with them.

    tell: called for each with its module and what became of it, None where it must be imported.
    end: by the monotonic clock, none is begun after it.
    """

    jobs: Sequence[Job]
    covering: Covering
    tell: Callable[[str, Mutant, Fault | None], None]
    end: float
    items: dict[str, pytest.Item] = field(default_factory=dict)
    functions: Alive = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of the tests."""
        self.items = {item.nodeid: item for item in session.items}
        self.functions = alive()
        # No collection of a child's touches, and so copies, what was there before.
        gc.freeze()
        for module, mutant in self.jobs:
            if time.monotonic() > self.end:
                break
            source = (ROOT / module).read_text(encoding="utf-8")
            codes = swapped(str(ROOT / module), source, mutant.source)
            self.tell(module, mutant, self._try(module, mutant, codes) if codes else None)
        return True

    def _try(self, module: str, mutant: Mutant, codes: Any) -> Fault | None:
        tests = [t for file in self.covering.tests(module, mutant.line) for t in file]
        tests = [test for test in tests if test in self.items]
        early = self.covering.is_early(module, mutant.line)
        if not tests:
            return None if early else fault(mutant, Outcome.UNSEEN)

        def run() -> int:
            if not swap(self.functions.get(str(ROOT / module), ()), codes):
                return 0
            return self._noticed(tests)

        number = forked(run, PATIENCE * sum(map(self.covering.seconds.__getitem__, tests)) + START)
        if number == 0:
            # What the tests hold since they were collected was made without the fault.
            return None if early else fault(mutant, Outcome.SURVIVED)
        return fault(mutant, Outcome.ENDLESS if number < 0 else Outcome.KILLED)

    def _noticed(self, tests: Sequence[str]) -> int:
        """1 as soon as one of these tests fails, else 0."""
        items = [self.items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.testsfailed:
                return 1
        return 0


def imported(job: Job, covering: Covering) -> Fault:
    """Run a line's tests, file by file, with the project imported around the fault."""
    module, mutant = job
    files = covering.tests(module, mutant.line, imported=True)
    for tests in files:
        seconds = sum(covering.seconds[test] for test in tests)
        code = forked(_importing(module, mutant.source, tests), PATIENCE * seconds + START)
        if code != 0:
            outcome = Outcome.ENDLESS if code < 0 else Outcome.KILLED
            return fault(mutant, outcome, tests[0].partition("::")[0])
    return fault(mutant, Outcome.SURVIVED if files else Outcome.UNSEEN)


def _importing(module: str, source: str, tests: Sequence[str]) -> Callable[[], int]:
    def run() -> int:
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        # Before pytest, whose own finder comes first then: it rewrites assertions of plugins, and
        # an installed harness is one.
        faulty = _Faulty(module, source)
        sys.meta_path.insert(0, faulty)
        importlib.import_module(faulty.name)
        return int(pytest.main([*OPTIONS, "-x", *tests]))

    return run


def forked(run: Callable[[], int], limit: float) -> int:
    """What a function returns in a process of its own; 1 where it raises; below 0 where it had to
    be ended after so many seconds."""
    folder = tempfile.mkdtemp(prefix="mutation-")
    child = os.fork()
    if child == 0:
        _run(run, folder)
    end = time.monotonic() + limit
    code = None
    while code is None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            code = -int(signal.SIGKILL)
        else:
            time.sleep(0.005)
    # Whatever its tests have started goes with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(run: Callable[[], int], folder: str) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.chdir(ROOT)
        # pytest's own folder for temporary files too.
        os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
        tempfile.tempdir = None
        code = run()
    finally:
        os._exit(code)
