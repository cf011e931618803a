"""A child process: its variables, its log, its end, however that comes.

The parent never imports what it measures. It hands the child a job file and waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness.records.folders import cache_root, import_root
from harness.records.handover import (
    PARENT,
    forget_handover,
    left_error,
    rung_under_way,
    stacks_path,
)

TICK_S = 0.5
# What a child gets beyond its limit to write its stacks down.
GRACE_S = 30.0
# Looks at what it waits for, before a thread sleeps.
SPINS = "1000"


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code (minus the signal that ended it) and its log. hung: whether
    it was ended because it did not answer."""

    code: int
    log: Path
    hung: bool = False


def child_environment(threads: int, device: str = "") -> dict[str, str]:
    """The child's variables: our package importable, threads fixed, nobody told what is trained.

    device: what the child measures on, "" where it is yet to say. What measures on a CPU sees no
    GPU: libraries choose by what they see what they do with tensors that lie elsewhere (trl 1.16's
    loss kernel wants a GPU's, accelerate's sharded training on a CPU ends in a segmentation fault).
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(import_root()), *filter(None, [environment.get("PYTHONPATH")])]
    )
    environment["PYTHONUNBUFFERED"] = "1"
    environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    # A thread that waits for the next product spins for a millisecond by default, on a core that
    # something else needs: one rung took 22 s for 37 s beside four busy processes on two cores, and
    # as long as before on idle ones (libgomp's manual, GOMP_SPINCOUNT).
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPINS)
    environment["TOKENIZERS_PARALLELISM"] = "false"
    # The hub's library reports what is trained from a thread of its own, SFTTrainer's use too.
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def offline(environment: dict[str, str]) -> dict[str, str]:
    """The model is resolved by then: nothing a library does may reach the network."""
    return {
        **environment,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def leaving_alone(python: Path, environment: dict[str, str]) -> dict[str, str]:
    """The variables under which an environment that is not ours stays as it is: the bytecode of
    what is imported there goes to the cache. Where bytecode is ours to write, it is, whatever the
    driver's own variables say (images of containers often set PYTHONDONTWRITEBYTECODE): compiling
    the five libraries anew takes longer than many a rung."""
    if python == Path(sys.executable):
        return environment
    writing = {**environment, "PYTHONDONTWRITEBYTECODE": ""}
    if python.is_relative_to(cache_root() / "environments"):
        return writing
    return {"PYTHONPYCACHEPREFIX": str(cache_root() / "bytecode"), **writing}


def run_child(
    python: Path,
    job: Path,
    environment: dict[str, str],
    log: Path,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run one job and wait, calling `tick` twice a second.

    Ctrl-C reaches the child once; it gets 30 s to save its state.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    forget_handover(job)
    with log.open("ab") as stream:
        child = subprocess.Popen(
            [str(python), "-m", "harness.measuring.child", str(job)],
            env={**leaving_alone(python, environment), PARENT: str(os.getpid())},
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            code = None
            while code is None:
                try:
                    code = child.wait(timeout=TICK_S)
                except subprocess.TimeoutExpired:
                    tick()
        except BaseException:
            _stop(child)
            raise
    return Outcome(code, log, hung=_watchdog_bit(job, log))


def _watchdog_bit(job: Path, log: Path) -> bool:
    """Whether the child's own watchdog ended it; the stacks that it left then end the log."""
    left = stacks_path(job)
    stacks = left.read_bytes() if left.is_file() else b""
    if stacks:
        with log.open("ab") as stream:
            stream.write(stacks)
    return bool(stacks)


def _stop(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def raise_for(code: int, job: Path) -> None:
    """Raise the user's error that a child left beside its job, as it was raised there."""
    if code == 130:
        raise KeyboardInterrupt
    error = left_error(job)
    if error is not None and error.exit_code == code:
        raise error.as_exception()


class _Hung(Exception):
    """A child that answers neither us nor its own watchdog."""


def _watched(folder: Path, limit_s: float, tick: Callable[[], None]) -> Callable[[], None]:
    """`tick`, and _Hung where the child or the rung under way began too long ago.

    The child's own watchdog ends it first and leaves every thread's stack in the log; this is
    for a process that no longer runs at all.
    """
    begun = time.time()

    def check() -> None:
        tick()
        current = rung_under_way(folder)
        # Not there yet, or damaged: then the process's own start counts.
        started = max(begun, current.started) if current else begun
        if time.time() - started > limit_s + GRACE_S:
            raise _Hung

    return check


def outcome_of(
    folder: Path,
    python: Path,
    job: Path,
    environment: dict[str, str],
    log: Path,
    tick: Callable[[], None],
    limit_s: float,
) -> Outcome:
    """How a child ended that may take `limit_s` for its start and for every rung."""
    try:
        return run_child(python, job, environment, log, _watched(folder, limit_s, tick))
    except _Hung:
        return Outcome(-signal.SIGKILL, log, hung=True)


def become(module: str, *words: str) -> NoReturn:
    """Go on as `python -m harness.measuring.<module>`, in this very process.

    A launcher's signals, ranks and process group stay with whoever trains.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", f"harness.measuring.{module}", *words])
