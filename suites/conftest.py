"""Objects that several suites share, loaded once."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from harness.cli import main
from harness.judging.environments.installed import installed_stack
from harness.measuring.instruments.garbage import set_imports_aside
from harness.pytest_plugin import in_worker
from harness.records.context import Context
from suites import forked, network, workers
from suites.commands import Command, Ended
from suites.network import no_network  # noqa: F401 - for every test

# Twice the same command is twice the same examples; what other examples once found stands beside
# its test with @example. `--hypothesis-profile random` looks for more. How long an example takes is
# no finding: a busy machine is no defect.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many processes share the tests."""
    parser.addoption("--workers", default=0, type=int, help=workers.__doc__)


def pytest_collection(session: pytest.Session) -> None:
    """What several processes fork their commands from is imported on another core meanwhile."""
    if workers.count(session.config) and not session.config.option.collectonly:
        running = contextlib.ExitStack()
        running.enter_context(forked.server())
        session.config.add_cleanup(running.close)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """In several processes where that was asked for."""
    return workers.run(session) if workers.count(session.config) else None


def pytest_configure(config: pytest.Config) -> None:
    """One thread for each of several workers, set before any library starts its own."""
    # hypothesis asks the collector who holds numpy's generator; what is frozen is not named.
    config.addinivalue_line("filterwarnings", "ignore:It looks like `register_random` was passed")
    # Read when the hub's library is imported: no test tells it what is trained here.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if in_worker():
        workers.share_cores()
    if workers.count(config):
        workers.prepare(config)
    keep_memory()
    network.watch()
    # Hundreds of thousands of objects are made by imports and die with the process: looking
    # through them after every 700 new ones takes a fifth of the time that an import takes. What is
    # garbage is mostly a training's, which looks for it itself when it ends.
    gc.set_threshold(1_000_000, 50, 100)


def keep_memory() -> None:
    """Have glibc keep what was freed: a large picture's arrays come and go a hundred times, and
    each time the kernel would clear every page of them anew."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # From <malloc.h>; values in bytes, at most what an int holds.
        trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1
        libc.mallopt(trim_threshold, most)
        libc.mallopt(mmap_threshold, 2**30)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the suites judge, so that no log leaves the source open."""
    model, data = config.getoption("--harness-model"), config.getoption("--harness-data")
    recipe = config.getoption("--harness-recipe")
    return [f"harness: stack {installed_stack()}, model {model}, data {data}, recipe {recipe}"]


@pytest.fixture(scope="session")
def context(harness_context: Context) -> Context:
    """Where and what the suites measure."""
    return harness_context


@pytest.fixture(scope="session")
def repository() -> Path:
    """The project's root."""
    return Path(__file__).resolve().parent.parent


def pytest_runtest_teardown() -> None:
    """What a test makes of its worker's one thread ends with it: on cores that other workers use
    two threads wait for each other, eight times as long."""
    torch = sys.modules.get("torch")
    if in_worker() and hasattr(torch, "get_num_threads") and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def pytest_runtest_setup() -> None:
    """Between two tests nothing large lives but what their files share."""
    set_imports_aside()


@pytest.fixture(scope="session")
def processor(context: Context) -> Any:
    """The stack's processor of the model in use, with its own defaults."""
    from harness.measuring.snapshots.loading import load_processor

    return load_processor(context.snapshot)


@pytest.fixture(scope="session")
def seven_b() -> Any:
    """The recipe's 7B architecture on the meta device: shapes only, so nobody can change it."""
    from harness.measuring.snapshots.loading import published_model

    return published_model("qwen2_vl", "7b")


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has set nothing: the suites' own model must not decide these tests."""
    for name in [n for n in os.environ if n.startswith(("HF_", "HARNESS_"))]:
        monkeypatch.delenv(name)


_folders = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, numbered here: pytest's fixture lists, for each of thousands of
    tests, every folder that was made before it."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}{next(_folders)}", numbered=False)


@pytest.fixture(autouse=True)
def _own_variables(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test sets is gone after it: `--offline` is a command's for its own process, which here
    is every later test's, and on a machine with an empty cache no wheel was built after it. Nor
    does a test ask where it runs: what a CI system sets (goldens are not written there) is set by
    the test that is about it, and so is the lane: only the session's own model is no stand-in in
    the lane of GPUs, not one that a test names."""
    before = os.environ.copy()
    measures = "harness_context" in request.fixturenames
    for name in before:
        if name == "CI" or name.startswith("GITHUB_") or (name == "HARNESS_LANE" and not measures):
            del os.environ[name]
    yield
    # Only what differs is set again: all of them, after each of thousands of tests, take a second.
    after = os.environ.copy()
    for name in after.keys() - before.keys():
        del os.environ[name]
    for name, value in before.items():
        if after.get(name) != value:
            os.environ[name] = value


@pytest.fixture
def harness(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line in this process; what it starts to look up a model is a process of its own,
    and what it measures in is started as ever."""
    monkeypatch.setattr("harness.judging.workers.process.subprocess", forked.SUBPROCESS)

    def command(*words: str | Path) -> Ended:
        try:
            code = main([str(word) for word in words])
        except SystemExit as left:
            code = int(str(left.code))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command
