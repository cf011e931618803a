"""`--workers N`: tests in N processes that are forked once everything is imported and collected.

Each takes a file at a time, for a file's tests share what they measure, and tells the first process
what became of every test. pytest-xdist starts N interpreters that import and collect everything
each, which takes longer than a quarter of these tests.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest._io import TerminalWriter

# Imported before the fork where the tests need torch at all; each took every worker a second.
LIBRARIES = (
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.processing_auto",
    "transformers.models.qwen2_vl.modeling_qwen2_vl",
    "peft.tuners.lora.bnb",
    "torch.distributed.fsdp",
    "trl.trainer.sft_trainer",
)
# Each takes a twentieth of the whole and more: handed out last it would be one worker's alone.
LONG = frozenset({"test_faults.py", "test_recipes.py", "test_wheel.py"})
# By which plugins, ours among them, know a process that shares its session with others.
NAME = "PYTEST_XDIST_WORKER"


def count(config: pytest.Config) -> int:
    """How many processes were asked for; 0: the tests run in this one."""
    return int(config.getoption("--workers"))


def prepare(config: pytest.Config) -> None:
    """Before any library starts its threads: a forked process has none of them, and two processes
    beside each other time nothing. Nor does CUDA outlive a fork, and libraries start it when they
    are imported: these tests measure on the CPU. Raises UsageError in the lane of GPUs."""
    if os.environ.get("HARNESS_LANE") == "gpu":
        raise pytest.UsageError("--workers forks, and CUDA does not outlive that: leave it out")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    share_cores()
    config.option.benchmark_disable = True


def share_cores() -> None:
    """One thread each. What a test starts may take two, which wait for one another without turning
    in circles: where others want the cores that takes three times the work."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run(session: pytest.Session) -> bool:
    """What `pytest_runtestloop` does, in several processes."""
    config = session.config
    if session.testsfailed and not config.option.continue_on_collection_errors:
        raise session.Interrupted(f"{session.testsfailed} errors during collection")
    if not config.option.collectonly:
        _settle()
        numbers = range(len(session.items))
        by_file = groupby(numbers, key=lambda number: session.items[number].path)
        files = [list(group) for _, group in by_file]
        files.sort(key=lambda file: session.items[file[0]].path.name not in LONG)
        config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # one for all
        Crowd(session, files).run(count(config))
    return True


def _settle() -> None:
    """Imports done and out of the collector's way; no thread that a fork would lose."""
    if "torch" in sys.modules:
        for library in LIBRARIES:
            import_module(library)
    running = [thread.name for thread in threading.enumerate()]
    assert len(running) == 1, f"{running}: a thread that runs before the fork is lost in it"
    gc.freeze()


@dataclass
class Worker:
    """A forked process, as the first one sees it."""

    pid: int
    line: Connection
    # The tests that it has and has not told the end of: it is at the first.
    todo: list[int] = field(default_factory=list)


class Crowd:
    """The first process: hands files out, takes reports, replaces a worker that died."""

    def __init__(self, session: pytest.Session, files: list[list[int]]) -> None:
        self.session, self.files = session, files
        self.workers: list[Worker] = []
        self.started = 0

    def run(self, wanted: int) -> None:
        """Raises what pytest's own loop raises when a run is to stop."""
        try:
            for _ in range(min(wanted, len(self.files))):
                self._start()
            while self.workers and not self._over():
                for line in wait([worker.line for worker in self.workers]):
                    self._hear(next(w for w in self.workers if w.line is line))
        finally:
            for worker in self.workers:
                worker.line.close()  # it ends after the test that it is at
                os.waitpid(worker.pid, 0)
        if self.session.shouldfail:
            raise self.session.Failed(self.session.shouldfail)
        if self.session.shouldstop:
            raise self.session.Interrupted(self.session.shouldstop)

    def _over(self) -> bool:
        return bool(self.session.shouldfail or self.session.shouldstop)

    def _start(self) -> None:
        ours, theirs = Pipe()
        name = f"gw{self.started}"
        self.started += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for worker in self.workers:
                worker.line.close()
            _work(self.session, name, theirs)
        theirs.close()
        self.workers.append(Worker(pid, ours))

    def _hear(self, worker: Worker) -> None:
        try:
            what, about = worker.line.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            return
        config = self.session.config
        if what == "next":
            file = self.files.pop(0) if self.files else []
            worker.todo += file
            worker.line.send(file)
        elif what == "done":
            worker.todo.pop(0)
            for data in about:
                report = config.hook.pytest_report_from_serializable(config=config, data=data)
                config.hook.pytest_runtest_logreport(report=report)
        elif what == "warning":
            config.hook.pytest_warning_recorded.call_historic(kwargs=about)
        elif what == "exit":
            pytest.exit(*about)
        elif what == "error":
            raise RuntimeError(f"A worker of the suites failed:\n{about}")

    def _bury(self, worker: Worker) -> None:
        """Its end is the failure of the test that it was at; another does what it had left."""
        self.workers.remove(worker)
        worker.line.close()
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 and not worker.todo:
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not worker.todo:
            raise RuntimeError(f"A worker of the suites ended by {how} after its last test.")
        at, *left = worker.todo
        self._lost(self.session.items[at], how)
        if left:
            self.files.insert(0, left)
        if self.files:
            self._start()

    def _lost(self, item: pytest.Item, how: str) -> None:
        report = pytest.TestReport(
            item.nodeid,
            item.location,
            {},
            "failed",
            f"The process that ran this test ended by {how}.",
            "call",
        )
        item.config.hook.pytest_runtest_logreport(report=report)


class Teller:
    """In a worker: what the first process's plugins would have seen."""

    def __init__(self, config: pytest.Config, line: Connection) -> None:
        self.config, self.line = config, line
        # Registered, a plugin hears of every warning of the first process once more.
        self.is_new = True
        self.reports: list[dict[str, Any] | None] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self.config.hook.pytest_report_to_serializable
        self.reports.append(hook(config=self.config, report=report))

    def test_is_done(self) -> None:
        """One message a test: there are thousands."""
        self.line.send(("done", self.reports))
        self.reports = []

    def pytest_warning_recorded(
        self, warning_message: Any, when: Any, nodeid: str, location: Any
    ) -> None:
        if self.is_new:
            return
        # The object that it is about stays here, and a library's own class of warning may hold any.
        warning_message.source = None
        if warning_message.category.__module__ not in {"builtins", "_pytest.warning_types"}:
            warning_message.category = UserWarning
        warning_message.message = warning_message.category(str(warning_message.message))
        about = {"when": when, "nodeid": nodeid, "location": location}
        self.line.send(("warning", {"warning_message": warning_message, **about}))


class Muted:
    """In a worker: where pytest writes nothing, and asks how it would highlight a difference."""

    def __init__(self) -> None:
        self._tw = TerminalWriter(io.StringIO())


def _work(session: pytest.Session, name: str, line: Connection) -> NoReturn:
    """A worker from its fork to its end; nothing of the first process's own end is done here."""
    code = 0
    try:
        os.environ[NAME] = name
        teller = _part(session.config, name, line)
        for number, following in _turns(line):
            item = session.items[number]
            after = None if following is None else session.items[following]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            teller.test_is_done()
    except (KeyboardInterrupt, BrokenPipeError, EOFError):
        code = 0  # the first process has had it too, or wants no more
    except pytest.exit.Exception as ended:
        line.send(("exit", (str(ended), ended.returncode)))
    except BaseException:  # noqa: BLE001 - told, and raised where it is heard
        code = 1
        line.send(("error", traceback.format_exc()))
    finally:
        os._exit(code)


def _part(config: pytest.Config, name: str, line: Connection) -> Teller:
    """Leave what two processes cannot share: the terminal, the file that captures output, the
    folder of temporary files."""
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    plugins.register(Muted(), "terminalreporter")
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = Path(factory.mktemp(name, numbered=False))
    teller = Teller(config, line)
    plugins.register(teller)
    teller.is_new = False
    return teller


def _turns(line: Connection) -> Iterator[tuple[int, int | None]]:
    """(a test, the one after it), asking for a file when the last test of the one before begins:
    pytest tears down by what follows."""
    todo = [*_asked(line)]
    while todo:
        number = todo.pop(0)
        todo += () if todo else _asked(line)
        yield number, todo[0] if todo else None


def _asked(line: Connection) -> Sequence[int]:
    line.send(("next", None))
    file: Sequence[int] = line.recv()
    return file
