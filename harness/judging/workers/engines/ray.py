"""A Ray cluster: commands as subprocesses of its workers, each with its own cores or GPU.

The cache and the environments are seen by every node under one path. No environment of a stack has
Ray, so it is never a worker's own interpreter. Options: address (default: a running cluster, else
one on this machine).
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness.errors import BadInput
from harness.judging.workers.engines import Settings, Supply
from harness.judging.workers.running import Command, Ended, run_here
from harness.records.folders import import_root

NEEDS = "ray"
TICK_S = 0.2


class Ray:
    """Commands as tasks of a cluster."""

    def __init__(self, settings: Settings, ray: Any) -> None:
        self._ray, self.most = ray, settings.workers
        # What a worker or a node takes along is told as lost, and given out again by the driver.
        self._task = ray.remote(max_retries=0)(run_here)
        self._running: dict[Any, Command] = {}

    def run(
        self,
        supply: Supply,
        ended: Callable[[Command, Ended], None],
        tick: Callable[[], None],
    ) -> None:
        """As Engine has it. Raises BadInput for what no node of the cluster has."""
        try:
            while self._running or not supply.is_over:
                while len(self._running) < self.most and (command := supply.take()):
                    self._submit(command)
                self._collect(ended)
                tick()
        except BaseException:
            for reference in self._running:
                self._ray.cancel(reference, force=True)
            raise

    def _submit(self, command: Command) -> None:
        wanted = {"CPU": command.threads, **({"GPU": 1} if command.cuda else {})}
        whole = self._ray.cluster_resources()
        for name, count in wanted.items():
            if whole.get(name, 0) < count:
                raise BadInput(
                    f"The Ray cluster has {whole.get(name, 0):.0f} {name}, a cell needs {count}; "
                    "add a node, or ask for less."
                )
        task = self._task.options(num_cpus=command.threads, num_gpus=int(command.cuda))
        self._running[task.remote(command)] = command

    def _collect(self, ended: Callable[[Command, Ended], None]) -> None:
        if not self._running:
            time.sleep(TICK_S / 4)  # an environment is being built
            return
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=TICK_S)
        for reference in done:
            command = self._running.pop(reference)
            ended(command, self._ended(reference))

    def _ended(self, reference: Any) -> Ended:
        try:
            result: Ended = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise  # an error of ours, not of the cluster
        except self._ray.exceptions.RayError:
            return Ended(1, lost=True)
        return result


@contextlib.contextmanager
def open_engine(settings: Settings) -> Iterator[Ray]:
    """The engine, connected until it is closed. Raises BadInput where there is no such cluster."""
    ray = importlib.import_module("ray")
    options = dict(settings.options)
    address = options.pop("address", None)
    if options:
        raise BadInput(f"The engine ray has no option {next(iter(options))}; it has address.")
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(
                address=address,
                runtime_env={"env_vars": {"PYTHONPATH": str(import_root())}},
                include_dashboard=False if address is None else None,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise BadInput(f"There is no Ray cluster to be had ({first[:300]}).") from error
    try:
        yield Ray(settings, ray)
    finally:
        if ours:
            ray.shutdown()
