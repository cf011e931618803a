"""This machine: as many commands at once as its cores and GPUs allow, each with its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from harness.errors import BadInput
from harness.judging.workers.engines import Settings, Supply
from harness.judging.workers.running import GRACE_S, Command, Ended, Running
from harness.records.machine import visible_gpus

NEEDS = ""
TICK_S = 0.2


@dataclass(frozen=True)
class Slot:
    """What one command at a time has for itself. gpu: as CUDA_VISIBLE_DEVICES names it."""

    cores: frozenset[int]
    gpu: str = ""


def cores() -> list[int]:
    """The cores that this process may use."""
    if sys.platform != "linux":
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


def slots(workers: int, here: list[int], gpus: tuple[str, ...]) -> list[Slot]:
    """Cores dealt out to so many commands, in turn where there are fewer cores than commands; and
    GPUs, one each, to the first."""
    dealt = [
        frozenset(here[i::workers]) or frozenset({here[i % len(here)]}) for i in range(workers)
    ]
    return [Slot(own, gpus[i] if i < len(gpus) else "") for i, own in enumerate(dealt)]


class Local:
    """Commands as processes of this machine."""

    def __init__(self, settings: Settings) -> None:
        self._free = slots(settings.workers, cores(), visible_gpus())
        self._running: dict[Future[Ended], tuple[Running, Slot]] = {}
        self._next: Command | None = None
        self.most = settings.workers

    def run(
        self,
        supply: Supply,
        ended: Callable[[Command, Ended], None],
        tick: Callable[[], None],
    ) -> None:
        """As Engine has it. Raises BadInput for a command that needs a GPU where there is none."""
        with ThreadPoolExecutor(len(self._free)) as pool:
            try:
                while self._running or self._next or not supply.is_over:
                    self._start(supply, pool)
                    self._collect(ended)
                    tick()
            except BaseException:
                self._end_all()
                raise

    def _start(self, supply: Supply, pool: ThreadPoolExecutor) -> None:
        """Start what there is room for; one that waits for a GPU lets no other pass."""
        while self._free:
            command = self._next or supply.take()
            self._next = None
            if command is None:
                return
            slot = self._slot_for(command)
            if slot is None:
                self._next = command
                return
            self._free.remove(slot)
            running = Running(command)
            self._running[pool.submit(_own, running, slot)] = (running, slot)

    def _slot_for(self, command: Command) -> Slot | None:
        if not command.cuda:
            return min(self._free, key=lambda slot: bool(slot.gpu))
        busy = any(slot.gpu for _, slot in self._running.values())
        free = next((slot for slot in self._free if slot.gpu), None)
        if free is None and not busy:
            raise BadInput(
                "There is no CUDA device here for what needs one; leave cuda out of the devices, "
                "or take an engine that has one."
            )
        return free

    def _collect(self, ended: Callable[[Command, Ended], None]) -> None:
        if not self._running:
            time.sleep(TICK_S / 4)  # an environment is being built
            return
        done, _ = wait(self._running, TICK_S, FIRST_COMPLETED)
        for future in done:
            running, slot = self._running.pop(future)
            self._free.append(slot)
            ended(running.command, future.result())
        for running, _ in self._running.values():
            over = time.monotonic() - running.begun - running.command.limit_s
            if over > GRACE_S:
                running.stop(timed_out=True, number=signal.SIGKILL)
            elif over > 0 and not running.timed_out:
                running.stop(timed_out=True)

    def _end_all(self) -> None:
        for running, _ in self._running.values():
            running.stop()
        wait(self._running, GRACE_S)
        for running, _ in self._running.values():
            running.stop(number=signal.SIGKILL)


def _own(running: Running, slot: Slot) -> Ended:
    """Run it with a slot's cores and GPU: a process has those of the thread that starts it."""
    if sys.platform == "linux":
        os.sched_setaffinity(threading.get_native_id(), slot.cores)
    running.begun = time.monotonic()
    visible = {"CUDA_VISIBLE_DEVICES": slot.gpu if running.command.cuda else ""}
    return running.wait(**visible)


@contextlib.contextmanager
def open_engine(settings: Settings) -> Iterator[Local]:
    """The engine; it needs nothing."""
    yield Local(settings)
