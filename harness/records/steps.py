"""What was measured of a training's steps on one side, and how like the truth's they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Single tensors are named in a record from here on down.
LOW = 0.99


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    seconds: between two events on the stream (wall time on a CPU). peak: bytes that tensors of
    the side's process held at most. norm: the gradient's, before clipping. labels: positions that
    entered a cross-entropy, None where it could not be seen.
    """

    seconds: float
    wall: float
    peak: int
    loss: float
    norm: float
    labels: int | None = None


@dataclass(frozen=True)
class Alike:
    """A vector of tensors against the truth's, tensor by tensor, A and B apart.

    cosine_a, cosine_b: the smallest over the tensors, 1 where the truth's are all zero and these
    too. worst_a, worst_b: which. whole_a, whole_b: of all tensors as one vector. untrained:
    tensors that are zero or absent where the truth's are not. low: every tensor whose cosine is
    below LOW, with it; empty in records that are older than the field.
    """

    cosine_a: float
    cosine_b: float
    worst_a: str
    worst_b: str
    whole_a: float
    whole_b: float
    untrained: tuple[str, ...] = ()
    low: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of a contest, each in a process of its own.

    gradients: of every step. moved: of what the weights have moved by after the last step.
    other_dtypes: module -> `mine for the truth's`, of what modules give. dropping: modules whose
    dropout is on. other_batches: other samples share a micro-batch. facts: what was set up, in
    the side's own words. dtypes_seen: modules whose dtype was looked at; 0 where none could be.
    reserved: bytes that the allocator took at most.
    """

    name: str
    what: str
    steps: tuple[Step, ...]
    gradients: tuple[Alike, ...]
    moved: Alike | None
    other_dtypes: Mapping[str, str] = field(default_factory=dict)
    dropping: tuple[str, ...] = ()
    other_batches: bool = False
    load_seconds: float = 0.0
    first_step_seconds: float = 0.0
    reserved: int = 0
    dtypes_seen: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)
