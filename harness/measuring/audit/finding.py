"""The collector that a rung's checks fill while they measure."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import TypeVar

from harness.errors import Lack, NotRunnable
from harness.measuring.instruments.recorder import failure_of
from harness.records.audit import (
    MOST_EVIDENCE,
    Basis,
    Check,
    ComponentRow,
    DrawnRow,
    Relation,
    RungChecks,
)
from harness.records.disk import raise_of_the_disk
from harness.records.record import PROBE, How, Status
from harness.records.typed import Json

T = TypeVar("T")


class Findings:
    """Of one rung. rows, components: what is drawn beside the checks."""

    def __init__(self, rung: str) -> None:
        self.rung = rung
        self.rows: list[DrawnRow] = []
        self.components: list[ComponentRow] = []
        self._checks: dict[str, Check] = {}

    def put(
        self,
        name: str,
        value: Json,
        truth: Json = None,
        *,
        case: str | None = None,
        basis: Basis = Basis.ARITHMETIC,
        relation: Relation = Relation.EQUAL,
        tolerance: float = 0.0,
        unit: str = "1",
        how: How = How.MEASURED,
        evidence: Iterable[str] = (),
        setting: str = "",
    ) -> None:
        """Add a value and what it must be; the fields are those of `Check`."""
        listed = list(evidence)
        if len(listed) > MOST_EVIDENCE:
            rest = len(listed) - MOST_EVIDENCE + 1
            listed = [*listed[: MOST_EVIDENCE - 1], f"and {rest} more"]
        self._add(
            Check(
                self.rung,
                name,
                case,
                value,
                truth,
                basis,
                relation,
                tolerance,
                unit,
                how,
                evidence=tuple(listed),
                setting=setting,
            )
        )

    def record(self, name: str, value: Json, *, case: str | None = None, unit: str = "1") -> None:
        """Add a value that is shown and not judged."""
        self.put(name, value, case=case, relation=Relation.RECORDED, unit=unit)

    def not_run(
        self, name: str, reason: str, lack: Lack = Lack.OTHER, *, case: str | None = None
    ) -> None:
        """Add what was not judged and why, as a sentence."""
        self._add(Check(self.rung, name, case, status=Status.NOT_RUN, reason=reason, lack=lack))

    def broken(self, name: str, error: BaseException, *, case: str | None = None) -> None:
        """Add what raised instead of giving a value."""
        traceback.print_exception(error)
        self._add(Check(self.rung, name, case, status=Status.BROKEN, failure=failure_of(error)))

    def attempt(self, name: str, work: Callable[[], T], *, case: str | None = None) -> T | None:
        """What `work` gives; None where it raises, which is then that check's result."""
        try:
            return work()
        except NotRunnable as error:
            self.not_run(name, str(error), error.lack, case=case)
        except Exception as error:  # noqa: BLE001 - whatever a training throws is the finding
            raise_of_the_disk(error)
            self.broken(name, error, case=case)
        return None

    def _add(self, check: Check) -> None:
        if check.finding_id in self._checks:
            raise ValueError(f"{check.finding_id} is checked twice")
        self._checks[check.finding_id] = check

    def finish(self, seconds: float) -> RungChecks:
        """The rung as it is written."""
        return RungChecks(
            self.rung,
            tuple(self._checks.values()),
            seconds,
            tuple(self.rows),
            tuple(self.components),
        )


def whole_rung_failed(rung: str, error: BaseException, seconds: float) -> RungChecks:
    """A rung whose checks raised as a whole."""
    findings = Findings(rung)
    findings.broken(PROBE, error)
    return findings.finish(seconds)
