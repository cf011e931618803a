"""Every graded fault is planted where it says, and changes what its rung records."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data.dataset import rows_of
from harness.data.samples import training_messages
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.verdicts import judge
from harness.measuring.child import job
from harness.measuring.child.plants import PLANTS
from harness.measuring.models import family
from harness.measuring.probes import probe
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.training import trainer
from harness.measuring.training.capacity import training_bytes
from harness.measuring.training.spec import spec_for
from harness.recipe.published import IGNORE_INDEX
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
    # A card writes in 16 bits, and what five rows have taught moves no text there.
    whole = context.device != "cpu" and quantity.name == "text adapter"
    short = short_run() if quantity.rung in SCALED and not whole else nullcontext()
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
    if context.device == "cpu":
        assert values(after) == before
    else:
        # A card adds up in another order each time: what it says of them is the same.
        assert red(after) == red(plain)


def red(record: Record) -> set[str]:
    """What a verdict calls wrong of it."""
    goldens = read_goldens()
    return {item.finding for item in judge({record.rung: record}, goldens, []).red}


def test_a_label_of_a_training_is_lost_in_its_first_batch_and_in_no_earlier(
    context: Context,
) -> None:
    """On a card a batch is collated before a training, to see whether it fits."""
    spec = spec_for(context)
    rows = rows_of(spec, "train", limit=1)
    messages = [training_messages(row, spec.recipe) for row in rows]
    processor = load_processor(context.snapshot)

    def targets() -> list[int]:
        collator = trainer.make_collator(processor, spec.recipe, family(context.family))
        return [int((collator(messages)["labels"] != IGNORE_INDEX).sum()) for _ in range(2)]

    right = targets()
    with PLANTS["training label"](1):
        training_bytes(spec)
        assert targets() == [right[0] - 1, right[1]]
    assert targets() == right


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
