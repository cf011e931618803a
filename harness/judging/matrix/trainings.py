"""Cells of users' own trainings judged: by what an audit checks, not by what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.judging.audit.advice import advice_for
from harness.judging.audit.holding import bands_of, checks_of, truths_of
from harness.judging.audit.judge import Standing, standing
from harness.judging.goldens.bands import Bands
from harness.judging.goldens.golden import Golden
from harness.judging.matrix.memo import Measured
from harness.judging.matrix.table import CellEntry, Wrong, short
from harness.records.audit import Check
from harness.records.record import RUNGS, Verdict


def held_to(*folders: Path) -> tuple[Bands, Sequence[Golden]]:
    """What the audits in these folders are compared by: their own bands and truths."""
    return bands_of(*folders), truths_of(*folders)


def against_checks(entry: CellEntry, here: Measured, accepted: frozenset[str]) -> CellEntry:
    """The entry with what an audit finds. What only the user can say is a question, not wrong."""
    checks = sorted(checks_of(here.folder).values(), key=lambda check: RUNGS.index(check.rung))
    stands = [(check, standing(check, advice_for(check))) for check in checks]
    red = [c for c, stand in stands if stand in {Standing.WRONG, Standing.BROKEN}]
    return replace(
        entry,
        right=sum(stand is Standing.FINE for _, stand in stands),
        missing=sum(stand is Standing.NOT_JUDGED for _, stand in stands),
        wrong=tuple(_wrong(check, check.finding_id in accepted) for check in red),
    )


def _wrong(check: Check, accepted: bool) -> Wrong:
    error = f"{check.failure.type}: {check.failure.message}" if check.failure else ""
    return Wrong(
        check.finding_id,
        check.rung,
        Verdict.BROKEN if error else Verdict.CHANGED,
        short(check.truth),
        short(check.value),
        error,
        "" if error else advice_for(check).title,
        accepted,
    )
