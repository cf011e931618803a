"""The collector a probe fills while it measures."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import Lack
from harness.measuring.instruments.interrupts import raise_if_interrupted
from harness.records.disk import raise_of_the_disk
from harness.records.failure import Failure, Mismatch
from harness.records.files import text_digest, write_atomically
from harness.records.mismatches import mismatches
from harness.records.record import Direction, How, Metric, Provenance, Record, Status
from harness.records.typed import Json, infinite

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")
# Where an object lies, as its repr says: another one in every process.
ADDRESS = re.compile(r"(?<= at )0x[0-9a-fA-F]+")


def failure_of(error: BaseException) -> Failure:
    """Type, first line of the message without memory addresses, and the innermost file:line of an
    exception; beside it what is installed and does not work together."""
    frames = traceback.extract_tb(error.__traceback__)
    where = "unknown"
    if frames:
        path = Path(frames[-1].filename)
        where = "/".join(path.parts[-3:]) + f":{frames[-1].lineno}"
    lines = str(error).strip().splitlines()
    message = ADDRESS.sub("0x…", lines[0])[:500] if lines else ""
    module = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    return Failure(type(error).__name__, message, where, _around(), module=module)


@cache
def _around() -> tuple[Mismatch, ...]:
    """Read once: what is installed does not change while it is measured."""
    return mismatches()


class Recorder:
    """Collects the metrics of one rung; `finish` freezes them into a record."""

    def __init__(self, rung: str) -> None:
        self.rung = rung
        self._metrics: dict[str, Metric] = {}
        self._tensors: dict[str, npt.NDArray[Any]] = {}
        self._start = time.perf_counter()

    def put(self, metric: Metric) -> Metric:
        """Add a metric. Raises ValueError on a second metric of the same finding id."""
        if metric.finding_id in self._metrics:
            raise ValueError(f"{metric.finding_id} is recorded twice")
        self._metrics[metric.finding_id] = metric
        return metric

    def add(
        self,
        name: str,
        value: Json,
        *,
        case: str | None = None,
        unit: str = "1",
        how: How = How.MEASURED,
        direction: Direction = Direction.NONE,
        samples: tuple[float, ...] = (),
        volatile: bool = False,
        note: str | None = None,
    ) -> Metric:
        """Record a measured value; one that is no finite number is BROKEN, for it could not be
        written down."""
        for each in (value, list(samples)):
            if (shown := infinite(each)) is not None:
                error = ValueError(f"its value is {shown}, no finite number")
                return self.broken(name, error, case=case)
        return self.put(
            Metric(
                self.rung,
                name,
                case,
                value,
                unit,
                how,
                direction,
                samples=samples,
                volatile=volatile,
                note=note,
            )
        )

    def tensor(
        self,
        name: str,
        array: npt.NDArray[Any],
        *,
        case: str | None = None,
        unit: str = "1",
        how: How = How.MEASURED,
        store: bool = True,
        note: str | None = None,
    ) -> Metric:
        """Record a tensor: digest, shape and dtype as the value, the data beside the record.

        store=False keeps only the digest (for large tensors that a golden can recompute).
        """
        import numpy as np

        data = np.ascontiguousarray(array)
        key = name if case is None else f"{name}.{case}"
        value: dict[str, Json] = {
            "digest": text_digest(data.tobytes()),
            "shape": [int(n) for n in data.shape],
            "dtype": str(data.dtype),
        }
        if store:
            self._tensors[key] = data
            value["key"] = key
        return self.add(name, value, case=case, unit=unit, how=how, note=note)

    def not_run(
        self,
        name: str,
        reason: str,
        lack: Lack,
        *,
        case: str | None = None,
        blocked_by: str = "",
    ) -> Metric:
        """Record that a measurement did not happen: why, in words, and what it was lacking."""
        return self.put(
            Metric(
                self.rung,
                name,
                case,
                status=Status.NOT_RUN,
                reason=reason,
                lack=lack,
                blocked_by=blocked_by,
            )
        )

    def blocked(self, name: str, finding: str, *, case: str | None = None) -> Metric:
        """Record that a measurement did not happen because a finding that it needs broke."""
        return self.not_run(
            name, f"{finding} is BROKEN", Lack.FINDING, case=case, blocked_by=finding
        )

    def broken(self, name: str, error: BaseException, *, case: str | None = None) -> Metric:
        """Record an error as the result of a measurement."""
        return self.put(
            Metric(self.rung, name, case, status=Status.BROKEN, failure=failure_of(error))
        )

    def attempt(
        self, name: str, call: Callable[[], T], *, case: str | None = None
    ) -> tuple[T | None, Metric | None]:
        """Run a call that may fail: (result, None), or (None, the BROKEN metric)."""
        try:
            return call(), None
        except Exception as error:  # noqa: BLE001 - the error is the measurement
            raise_if_interrupted()
            raise_of_the_disk(error)
            return None, self.broken(name, error, case=case)

    def finish(self, provenance: Provenance, out: Path) -> Record:
        """Freeze the metrics; write the tensors to `<out>/<rung>.safetensors`."""
        if self._tensors:
            from safetensors.numpy import save

            write_atomically(out / f"{self.rung}.safetensors", save(self._tensors))
        seconds = time.perf_counter() - self._start
        return Record(self.rung, provenance, tuple(self._metrics.values()), round(seconds, 3))
