"""A SLURM cluster: commands as tasks of array jobs, by submitit.

The folder of the engine, the cache and the environments are seen by every node under one path. A
preempted task is put back by submitit and goes on with what had not ended; what SLURM lost is told
as lost. Options: those of sbatch that submitit knows (partition, account, qos, mem, constraint, …),
and chunk, the commands of one task.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.workers.engines import Settings, Supply
from harness.judging.workers.node import ended_path, hand_out, read_ended
from harness.judging.workers.running import GRACE_S, Command, Ended
from harness.records.folders import import_root

NEEDS = "submitit"
TICK_S = 0.2
# How often the queue is asked for what it has lost; a task that has just ended may be in neither.
POLL_S, UNSEEN = 5.0, 3
# Of a task besides its commands' own limits: to begin, to build an environment.
START_S = 1800.0
# Commands that are handed out at once are locked, a file descriptor each.
MOST = 400


@dataclass
class _Task:
    """A task of an array. files: of its commands that have not ended. unseen: how often the queue
    did not know it."""

    job: str
    files: dict[Path, Command]
    unseen: int = 0


class Slurm:
    """Commands as tasks of array jobs."""

    def __init__(self, settings: Settings) -> None:
        options = dict(settings.options)
        self._chunk = _whole(options.pop("chunk", "1"), "chunk")
        self._workers, self._options = settings.workers, options
        self._folder = settings.folder
        self._numbers = itertools.count()
        self._tasks: list[_Task] = []
        self._asked = time.monotonic()
        # The queue is kept twice as long as the workers can take.
        self.most = min(2 * self._workers * self._chunk, MOST)

    def run(
        self,
        supply: Supply,
        ended: Callable[[Command, Ended], None],
        tick: Callable[[], None],
    ) -> None:
        """As Engine has it. Raises BadInput for what sbatch refuses."""
        try:
            while self._tasks or not supply.is_over:
                self._submit(self._taken(supply))
                self._collect(ended)
                tick()
                time.sleep(TICK_S)
        except BaseException:
            self._cancel()
            raise

    def _taken(self, supply: Supply) -> list[Command]:
        """What is handed out next, once half of what may be out has ended."""
        out = sum(len(task.files) for task in self._tasks)
        commands: list[Command] = []
        if out <= self.most // 2:
            while len(commands) + out < self.most and (command := supply.take()):
                commands.append(command)
        return commands

    def _submit(self, commands: Sequence[Command]) -> None:
        for cuda in (False, True):
            alike = [command for command in commands if command.cuda is cuda]
            if alike:
                self._submit_array(alike, cuda)

    def _submit_array(self, commands: Sequence[Command], cuda: bool) -> None:
        from submitit.helpers import CommandFunction

        chunks = [commands[i : i + self._chunk] for i in range(0, len(commands), self._chunk)]
        files = [[self._handed_out(command) for command in chunk] for chunk in chunks]
        executor = self._executor(commands, cuda)
        node = ["env", f"PYTHONPATH={import_root()}", sys.executable]
        node += ["-m", "harness.judging.workers.node"]
        with _refused(), executor.batch():
            jobs = [
                executor.submit(CommandFunction([*node, *map(str, paths)], verbose=False))
                for paths in files
            ]
        for job, chunk, paths in zip(jobs, chunks, files, strict=True):
            self._tasks.append(_Task(str(job.job_id), dict(zip(paths, chunk, strict=True))))

    def _executor(self, commands: Sequence[Command], cuda: bool) -> Any:
        from submitit import SlurmExecutor

        seconds = START_S + self._chunk * (max(c.limit_s for c in commands) + GRACE_S)
        with _refused():
            executor = SlurmExecutor(self._folder / "submitit")
            executor.update_parameters(
                job_name="harness-matrix",
                time=math.ceil(seconds / 60),
                cpus_per_task=max(command.threads for command in commands),
                array_parallelism=self._workers,
                **({"gpus_per_node": 1} if cuda else {}),
                **self._options,
            )
        return executor

    def _handed_out(self, command: Command) -> Path:
        path = self._folder / "commands" / f"{command.name}-{next(self._numbers)}.json"
        if not command.cuda:
            hidden = {**command.variables, "CUDA_VISIBLE_DEVICES": ""}
            command = replace(command, variables=hidden)
        hand_out(command, path)
        return path

    def _collect(self, ended: Callable[[Command, Ended], None]) -> None:
        self._look_for_lost()
        names = set(os.listdir(self._folder / "commands")) if self._tasks else set()
        for task in tuple(self._tasks):
            for path in [p for p in task.files if ended_path(p).name in names]:
                ended(task.files.pop(path), read_ended(ended_path(path)))
                path.unlink()
                ended_path(path).unlink()
            if task.unseen >= UNSEEN:
                for path in tuple(task.files):
                    ended(task.files.pop(path), Ended(1, lost=True))
                    path.unlink()
            if not task.files:
                self._tasks.remove(task)

    def _look_for_lost(self) -> None:
        """Count how often the queue does not know a task; its files may come later than its end."""
        if time.monotonic() - self._asked < POLL_S or not self._tasks:
            return
        self._asked = time.monotonic()
        queue = _queue()
        if queue is None:
            return  # the controller does not answer; that says nothing of the tasks
        for task in self._tasks:
            task.unseen = 0 if task.job in queue else task.unseen + 1

    def _cancel(self) -> None:
        arrays = sorted({task.job.partition("_")[0] for task in self._tasks})
        if arrays:
            subprocess.run(["scancel", *arrays], capture_output=True, check=False)


def _queue() -> set[str] | None:
    """The ids of all tasks that wait or run; None where nobody answers."""
    words = ["squeue", "--noheader", "--array", "--format", "%i %A_%a %A"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return None if done.returncode else set(done.stdout.split())


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise BadInput(f"--engine-option {name}={text} is no whole number above 0.")
    return int(text)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What SLURM or submitit refuses, as one sentence."""
    from submitit.core.utils import FailedSubmissionError

    try:
        yield
    except (FailedSubmissionError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        # An unknown option is followed by a list of all there are, sbatch's words by its reason.
        why = lines[0] if isinstance(error, ValueError) else lines[-1]
        raise BadInput(f"SLURM does not take the jobs ({why[:300]}).") from error


@contextlib.contextmanager
def open_engine(settings: Settings) -> Iterator[Slurm]:
    """The engine; its folder is emptied of what an earlier one handed out."""
    folder = settings.folder / "commands"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    yield Slurm(settings)
