"""Every graded fault is planted where it says, and changes what its rung records."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from harness.measuring.child import job
from harness.measuring.child.plants import PLANTS
from harness.measuring.models import family
from harness.measuring.probes import probe
from harness.records.context import Context
from harness.records.jobs import PlantedJob, Try
from harness.records.power import QUANTITIES, Quantity
from harness.records.record import RUNGS, Record
from suites.faults.late import short_run
from suites.pictures import leave_out_large

# Of a second or less each.
FAST = {"text", "ids", "labels", "model", "inputs"}
# Trained briefly, on a few products.
SCALED = {"trajectory", "generation"}


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
    short = short_run() if quantity.rung in SCALED else nullcontext()
    with short:
        changed_and_back(quantity, context, record_of, tmp_path, monkeypatch)


def changed_and_back(
    quantity: Quantity,
    context: Context,
    record_of: Callable[[str], Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if quantity.rung == "images":
        leave_out_large(monkeypatch, family(context.family))
    if quantity.rung in {"images", *SCALED}:
        plain = probe(quantity.rung)(replace(context, out=tmp_path / "plain"))
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


def test_what_an_interrupted_search_began_is_measured_anew(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that goes on would have a fault of its first batch planted in a later one too."""
    plain, out = tmp_path / "plain", tmp_path / "out"
    for begun in (plain, out / "training"):
        begun.mkdir(parents=True)
        (begun / f"{begun.name}.json").touch()
    beginnings: list[set[str]] = []

    def measure(planted: Context, rung: str) -> Record:
        beginnings.append({str(path.relative_to(out)) for path in planted.out.rglob("*")})
        return Record(rung, planted.provenance(), ())

    monkeypatch.setattr(job, "measure", measure)
    tries = tuple(Try("", "trajectory", 0.0, out, training) for training in (None, plain))
    with (tmp_path / "stacks.txt").open("w") as stacks:
        job.planted_job(PlantedJob(replace(context, out=tmp_path), tries, 60.0), stacks)
    assert beginnings == [set(), {"training", "training/plain.json"}]
