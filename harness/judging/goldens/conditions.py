"""What two records must have been measured with alike before they may be compared."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.record import Record
from harness.records.typed import Json

# Each is named where it does not agree.
CONDITIONS = (
    "model",
    "data",
    "data_digest",
    "device_key",
    "recipe",
    "model_digest",
    "vocabulary",
    "family",
    "seed",
)


@dataclass(frozen=True)
class Condition:
    """What two records were measured with, a field of their provenance, and differs."""

    name: str
    old: Json
    new: Json

    @property
    def sentence(self) -> str:
        """For people."""
        if self.name == "samples":
            return f"the samples differ ({self.old} and {self.new})"
        return f"{self.name} is {self.old!r} on one side and {self.new!r} on the other"


def differing_conditions(old: Record, new: Record) -> tuple[Condition, ...]:
    """Why two records of a rung cannot be compared; empty where they can."""
    a, b = old.provenance, new.provenance
    # A rung that broke as a whole recorded no samples, one whose process died not even its device;
    # that is a difference, not another input.
    broken = any(m.is_whole_probe for record in (old, new) for m in record.metrics)
    differing = [
        Condition(name, getattr(a, name), getattr(b, name))
        for name in CONDITIONS
        if getattr(a, name) != getattr(b, name)
        if not (broken and name == "device_key" and "" in (a.device_key, b.device_key))
    ]
    if a.samples != b.samples and not broken:
        differing.append(Condition("samples", a.samples, b.samples))
    return tuple(differing)
