"""The detector is tested: every planted defect turns its own rung red."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.compare.pairs import pair_records
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.measuring.models import family
from harness.measuring.probes import measured
from harness.records.context import Context
from harness.records.record import RUNGS, Record, Verdict
from suites.faults import (
    Fault,
    again,
    blind,
    data,
    drawn,
    frozen,
    held,
    kept,
    late,
    model,
    nearer,
    resumed,
    schedules,
    trainer,
    unseen,
    values,
    widened,
)
from suites.pictures import leave_out_large

# Their faults are planted into a shorter training than the plain record's.
SCALED = frozenset({"trajectory", "generation"})
FAULTS = (
    *(*data.FAULTS, *model.FAULTS, *again.FAULTS, *late.FAULTS),
    *(*frozen.FAULTS, *unseen.FAULTS, *widened.FAULTS, *blind.FAULTS),
    *(*trainer.FAULTS, *drawn.FAULTS, *values.FAULTS),
    *(*kept.FAULTS, *resumed.FAULTS, *schedules.FAULTS, *held.FAULTS),
    *nearer.FAULTS,
)


@pytest.fixture(scope="module")
def plain_of(
    context: Context, record_of: Callable[[str], Record], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Record]:
    """A rung's record without a defect; of pictures one by itself, over the small ones only."""
    small: list[Record] = []

    def plain(rung: str) -> Record:
        if rung != "images":
            return record_of(rung)
        if not small:
            out = tmp_path_factory.mktemp("small")
            small.append(measured(replace(context, out=out), rung))
        return small[0]

    return plain


def test_there_are_enough_of_them() -> None:
    by_rung = Counter(fault.rung for fault in FAULTS)
    rungs = RUNGS[2:]
    assert len(FAULTS) >= 60
    # Of those that were written down before one of them was tried.
    assert len(frozen.FAULTS) + len(frozen.NOT_FOUND) == 20
    assert all(by_rung[rung] >= 2 for rung in rungs), by_rung
    assert len({(f.rung, f.name) for f in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f, id=f"{f.rung}: {f.name}", marks=[pytest.mark.slow] if f.slow else [])
        for f in FAULTS
    ],
)
def test_fault_is_reported_at_its_own_rung(
    fault: Fault,
    context: Context,
    plain_of: Callable[[str], Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault.only and context.stack != fault.only:
        # There the same defect is the stack's own known finding, so it must be listed.
        known = {e.finding for e in read_expected(context.stack)}
        assert context.stack == "current" or fault.finds in known
        return
    if not context.has_weights and fault.rung in RUNGS[7:]:
        pytest.skip(f"{context.model} has no weights; rung {fault.rung} is NOT_RUN")
    leave_out_large(monkeypatch, family(context.family))
    plain = None if fault.rung in SCALED else plain_of(fault.rung)
    with fault.plant():
        record = measured(replace(context, out=tmp_path), fault.rung)
    # Of a snapshot of one's own the oracles say what its ids and labels have to be.
    goldens = goldens_for(context.out)
    judgement = judge({fault.rung: record}, goldens, read_expected(context.stack), facts=None)
    if not context.is_stand_in and not any(
        _is_of(fault, item.finding) and item.verdict is not Verdict.NOT_COMPARABLE
        for item in judgement.items
    ):
        pytest.skip(f"NOT_RUN: {fault.finds} of {context.model} has no truth to be held against")
    red = {item.finding for item in judgement.red}
    assert judgement.exit_code == 1
    assert judgement.first_red_rung == fault.rung
    assert any(_is_of(fault, finding) for finding in red), sorted(red)
    if plain is None:
        return
    # Against the same stack without the defect it must show as well: that is what compare sees.
    pairs = pair_records(plain, record, read_bands())
    moved = {p.finding for p in pairs if p.differs}
    assert any(_is_of(fault, finding) for finding in moved), sorted(moved)


def _is_of(fault: Fault, finding: str) -> bool:
    """Whether a finding is what the fault is to turn red, a case of it or the whole."""
    return finding == fault.finds or finding.startswith(f"{fault.finds}.")
