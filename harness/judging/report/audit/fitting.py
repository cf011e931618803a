"""Which measured way of the same step fits an audited training's card: a lookup, no prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.judging.report.lane import contest, frontier
from harness.judging.report.lane.alone import gigabytes
from harness.judging.report.lane.published import FOLDER, read
from harness.recipe.ways import VARIANTS
from harness.records.audit import Audit
from harness.records.record import Status
from harness.records.typed import Json

# Of `cost.held_bytes`, what is no weight of the model.
BESIDE_WEIGHTS = frozenset({"adapter", "gradients", "optimizer", "buffers"})
# The same shapes have the same bytes but for a release's own roundings and casts.
ALIKE = 0.05
LOADED = "footprint-800"


@dataclass(frozen=True)
class Fit:
    """A safe way that was measured on the audited training's kind of card. taken: bytes that the
    allocator took at most. speed: samples a second. times: the published step's speed in the same
    run, by which ways of several runs compare. rows, tokens: of the micro-batch that it was
    measured on, padding counted, none smaller than the training's."""

    way: str
    taken: int
    speed: float
    times: float
    rows: int
    tokens: int
    device: str

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"Fastest measured way that fits your card: `{self.way}`, {self.speed:.1f} samples/s "
            f"and {gigabytes(self.taken)} GB for micro-batches of {self.rows} × {self.tokens:,} "
            f"tokens on {self.device}, a model of this family and size with the recipe's LoRA, "
            f"dropout off; try it on a few of your own steps: "
            f"harness.measuring.ways.apply(trainer, {self.way!r})."
        )


def _value(audit: Audit, name: str) -> Mapping[str, Json]:
    for check in audit.checks:
        if check.finding_id == f"cost.{name}" and isinstance(check.value, Mapping):
            return check.value
    return {}


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _are_tried(audit: Audit) -> bool:
    """Whether ways were tried on the training's own loss: of LoRA over 4-bit weights, where they
    can be put on."""
    return any(c.finding_id == "cost.safe_ways" and c.status is Status.OK for c in audit.checks)


def _measured(records: Mapping[str, Mapping[str, Any]], family: str) -> Iterator[Fit]:
    """Ways that run the tower: what keeping its output takes depends on the data's pictures."""
    for raw in records.values():
        if raw["case"] != contest.CASE or raw["family"] != family:
            continue
        tokens = int(raw["batch"]["padded_per_sample"])
        for entry in contest.entries(raw, contest.noise_for(raw, records)):
            times = frontier.times(entry)
            if not entry.counts or entry.is_cached or times is None:
                continue
            if VARIANTS[entry.name].is_the_models:
                taken, speed, card = entry.side.reserved, entry.speed, raw["device_key"]
                yield Fit(entry.name, taken, speed, times.median, raw["size"], tokens, card)


def fitting(audit: Audit) -> Fit | None:
    """The fastest safe way whose measured memory fits the card.

    None on a CPU, for a model of another family or size than the measured one, for a training that
    no way was tried on, for a larger micro-batch than any measured, and on a kind of card that none
    was measured on.
    """
    card, stored = _value(audit, "card"), _value(audit, "held_bytes")
    if not card or not stored or not _are_tried(audit):
        return None
    folder = FOLDER / str(card["device"])
    records = read(folder) if folder.is_dir() else {}
    if LOADED not in records:
        return None
    weights = sum(_number(count) for name, count in stored.items() if name not in BESIDE_WEIGHTS)
    if abs(weights / records[LOADED]["total"]["measured"] - 1) > ALIKE:
        return None
    able = [
        fit
        for fit in _measured(records, audit.opened.model_type)
        if fit.taken <= _number(card["bytes"])
        and fit.rows >= _number(card["rows"])
        and fit.tokens >= _number(card["places"])
    ]
    # The smallest micro-batch that holds the training's says most about it; contests at one length
    # differ by a few tokens.
    return min(able, key=lambda fit: (fit.rows, fit.tokens // 100, -fit.times), default=None)
