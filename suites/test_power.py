"""Every graded fault is planted where it says, and changes what its rung records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.measuring.child.plants import PLANTS
from harness.measuring.models import family
from harness.measuring.probes import probe
from harness.records.context import Context
from harness.records.power import QUANTITIES, Quantity
from harness.records.record import RUNGS, Record
from suites.pictures import leave_out_large

# Of a second or less each.
FAST = {"text", "ids", "labels", "model", "inputs"}


def test_every_quantity_has_a_plant() -> None:
    assert set(PLANTS) == {quantity.name for quantity in QUANTITIES}


@pytest.mark.parametrize(
    "quantity",
    [
        pytest.param(q, id=q.name, marks=[] if q.rung in FAST else [pytest.mark.slow])
        for q in QUANTITIES
    ],
)
def test_the_largest_fault_changes_what_is_recorded_and_leaves_nothing_behind(
    quantity: Quantity,
    context: Context,
    record_of: Callable[[str], Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plant that changes nothing would be called a fault that nobody sees."""
    if not context.has_weights and quantity.rung in RUNGS[7:]:
        pytest.skip(f"{context.model} has no weights; rung {quantity.rung} is NOT_RUN")
    if quantity.rung == "images":
        leave_out_large(monkeypatch, family(context.family))
        plain = probe("images")(replace(context, out=tmp_path / "plain"))
    else:
        plain = record_of(quantity.rung)

    def values(record: Record) -> dict[str, object]:
        return {m.finding_id: m.value for m in record.metrics if not m.volatile}

    before = values(plain)
    with PLANTS[quantity.name](quantity.largest):
        planted = probe(quantity.rung)(replace(context, out=tmp_path / "planted"))
    assert {k: v for k, v in values(planted).items() if before.get(k) != v}
    after = probe(quantity.rung)(replace(context, out=tmp_path / "after"))
    assert values(after) == before
