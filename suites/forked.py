"""Commands of this project in processes of their own, forked from one that has imported what they
stand on.

Of a command that looks up a model, or refuses what it was given, nearly all the time is Python's
own imports. What is forked is as new as what is started: it has run nothing, only imported, and
takes its variables, folder, path, words and streams from who asks. Of the libraries under test it
has imported none, so that each reads the variables that it is given. What is about the interpreter
itself (its encoding, its hash seed, how it ends) is started, and so is everything where no server
runs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from harness.judging.workers import process
from harness.records.jobs import ResolveJob, read_job

ROOT = Path(__file__).resolve().parents[1]
# Nothing of ours reads a variable when it is imported.
PRELOADED = (
    "harness.cli",
    "harness.commands.probe",
    "harness.commands.run",
    "harness.commands.report",
    "harness.commands.compare",
    "harness.commands.bisect",
    "harness.commands.doctor",
    "harness.data.intake",
    "harness.measuring.child.job",
    "harness.measuring.models.qwen2_vl",
    "harness.measuring.snapshots.source",
    "numpy",
    "requests",
    "tqdm.auto",
    "yaml",
)
# A server with one of these could not be asked what it does under other variables.
UNDER_TEST = frozenset(
    {"accelerate", "bitsandbytes", "huggingface_hub", "peft", "torch", "transformers", "trl"}
)
# An interpreter reads these when it starts, of those that begin so; the others it reads later.
STARTING, LATER = ("PYTHON", "LANG", "LC_"), {"PYTHONPATH", "PYTHONUNBUFFERED"}


@dataclass(frozen=True)
class _Server:
    """Where it listens, and what its interpreter read when it started."""

    address: str
    started: Mapping[str, str]


# Set before workers are forked, and theirs too.
_RUNNING: list[_Server] = []


@contextlib.contextmanager
def server() -> Iterator[None]:
    """A server for this process and its workers. It ends when its standard input does."""
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "forked")
        code = f"import sys; sys.path[0] = {str(ROOT)!r}; import suites.forked as f; f.serve()"
        bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)
            running = subprocess.Popen(
                [sys.executable, "-c", code, str(listener.fileno()), address],
                stdin=subprocess.PIPE,
                env=bare,
                pass_fds=[listener.fileno()],
            )
        _RUNNING.insert(0, _Server(address, _starting(os.environ)))
        try:
            yield
        finally:
            _RUNNING.pop(0)
            running.communicate()


def _starting(variables: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in variables.items() if k.startswith(STARTING) and k not in LATER}


def can_fork(words: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether a command is one of ours, under variables with which the server's interpreter would
    have started as it did. A measuring process is not: it imports the libraries under test."""
    if not _RUNNING or [sys.executable, "-m"] != list(words[:2]):
        return False
    looks_up = words[2:3] == ["harness.measuring.child"] and _is_look_up(Path(words[3]))
    return (words[2] == "harness" or looks_up) and _starting(variables) == _RUNNING[0].started


def _is_look_up(job: Path) -> bool:
    return isinstance(read_job(job), ResolveJob)


class Process:
    """As much of subprocess.Popen as a command's end is waited for with."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: Any,
        stderr: Any,
        cwd: str | Path | None = None,
        stdin: int = subprocess.DEVNULL,
        process_group: int | None = None,
    ) -> None:
        assert stdin == subprocess.DEVNULL, "a forked command reads nothing"
        self.args, self.returncode = words, None
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_RUNNING[0].address)
        asked = {
            "words": list(words),
            "env": dict(env),
            "cwd": str(cwd or Path.cwd()),
            "group": process_group is not None,
        }
        content = json.dumps(asked).encode()
        streams = [stdout.fileno(), stderr.fileno()]
        socket.send_fds(self._line, [len(content).to_bytes(4, "big")], streams)
        self._line.sendall(content)
        self._answers = self._line.makefile("r")
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._line.close()
        return self.returncode


def popen(words: Sequence[str], **options: Any) -> Any:
    """subprocess.Popen, forked where that can be."""
    if can_fork(words, options["env"]):
        return Process(words, **options)
    return subprocess.Popen(words, **options)


# For what asks subprocess by name: a parent of ours that is tested in this process.
SUBPROCESS = SimpleNamespace(
    Popen=popen, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
)


def run(
    words: Sequence[str], *, env: Mapping[str, str], cwd: str | Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """subprocess.run with its output as text, forked where that can be."""
    if not can_fork(words, env):
        return subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=timeout, cwd=cwd, env=env
        )
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        asked = Process(words, env=env, cwd=cwd, stdout=out, stderr=error)
        try:
            code = asked.wait(timeout)
        except subprocess.TimeoutExpired:
            os.kill(asked.pid, signal.SIGKILL)
            asked.wait()
            raise
        out.seek(0)
        error.seek(0)
        return subprocess.CompletedProcess(list(words), code, out.read(), error.read())


def serve() -> None:
    """The server: a process per request, forked and waited for by another, so that this one can
    take the next. argv: the listening socket's number and address."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its input
    # What imports make is no garbage: looking for some takes a fifth of their time.
    gc.disable()
    for module in PRELOADED:
        import_module(module)
    early = UNDER_TEST & sys.modules.keys()
    assert not early, f"{sorted(early)}: imported under the server's variables"
    gc.freeze()
    gc.enable()
    listener = socket.socket(fileno=int(sys.argv[1]))
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1.0)
        if sys.stdin in ready:
            break
        if listener in ready:
            _answer(listener)
        # Waited for, so that what they took counts as this one's.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass


def _answer(listener: socket.socket) -> None:
    line, _ = listener.accept()
    with line:
        if os.fork():
            return
        code = 70
        try:
            listener.close()
            size, streams, _, _ = socket.recv_fds(line, 4, 2)
            content = b""
            while len(content) < int.from_bytes(size, "big"):
                content += line.recv(65536)
            pid = os.fork()
            if not pid:
                line.close()
                _become(json.loads(content), streams)
            line.sendall(f"{pid}\n".encode())
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            line.sendall(f"{code}\n".encode())
        except BrokenPipeError:
            pass  # who asked has ended
        finally:
            os._exit(0)


def _become(asked: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    """The command, from its first line to its end."""
    code = 1
    try:
        if asked["group"]:
            os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for ours, theirs in enumerate(streams, start=1):
            os.dup2(theirs, ours)
            os.close(theirs)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        path = asked["env"].get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:1] = [asked["cwd"], *filter(None, path)]
        _, _, module, *words = sys.orig_argv[:] = asked["words"]
        sys.argv[:] = ["-m", *words]
        tempfile.tempdir = None
        # The start of an interpreter ends so: the suites' own hook, or a test's.
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ImportError):
            import_module("sitecustomize")
        # What it starts to look up a model is forked as it was.
        process.subprocess = SUBPROCESS  # type: ignore[assignment]
        code = _executed(module)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _executed(module: str) -> int:
    """`python -m MODULE`: its exit code, minus a signal. What it left for its end is done."""
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException as error:  # noqa: BLE001 - shown as Python shows it
        traceback.print_exc()
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    return code
