"""What a green verdict would have seen: graded faults, and the table of what became of each.

A table holds for one stack on one kind of device, and is kept in
`golden/power/<device key>/<stack>.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.errors import BadInput
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Rules, build

# History: 1 (2026-11) first format.
POWER_SCHEMA = 1
MEND = "make it anew with `harness power --write`"


@dataclass(frozen=True)
class Quantity:
    """What is changed, at which rung, in which unit. smallest, largest: sizes between which the
    smallest reported one is looked for; equal where there is no smaller than one. trains: whether
    the training itself is another one, and must run for every size."""

    name: str
    rung: str
    words: str
    unit: str
    smallest: float
    largest: float
    trains: bool = False

    @property
    def is_graded(self) -> bool:
        """Whether it has sizes."""
        return self.smallest < self.largest


QUANTITIES = (
    Quantity("character", "text", "one character of a conversation", "character", 1, 1),
    Quantity("id", "ids", "one token of a batch", "token", 1, 1),
    Quantity("level", "images", "one value of a picture", "levels of 255", 1e-7, 10),
    Quantity("label", "labels", "one label", "label", 1, 1),
    Quantity("adapter", "model", "one adapter's matrix that does not train", "matrix", 1, 1),
    Quantity("pixels", "inputs", "pixels that reach the tower", "of the value", 1e-9, 1),
    Quantity("position", "inputs", "one token's position", "position", 1, 1),
    Quantity("loss", "forward", "the loss", "of the value", 1e-9, 1),
    Quantity("layer", "forward", "the first layer's output", "of the value", 1e-9, 1),
    Quantity("lora", "forward", "one LoRA module's contribution", "of the value", 1e-9, 1),
    Quantity("gradient", "backward", "the gradient", "of the value", 1e-9, 1),
    Quantity("rate", "update", "the learning rate", "of the value", 1e-9, 1),
    Quantity(
        "training rate", "trajectory", "the training's learning rate", "of the value", 1e-9, 1, True
    ),
    Quantity("training label", "trajectory", "one label of a training", "label", 1, 1, True),
    Quantity("loaded adapter", "trajectory", "the loaded adapter's scale", "of the value", 1e-9, 1),
    Quantity("merged adapter", "trajectory", "what merging adds", "of the value", 1e-9, 1),
    Quantity("text token", "generation", "one token of a batch of texts", "token", 1, 1),
    Quantity("text adapter", "generation", "the adapter that writes the texts", "adapter", 1, 1),
    Quantity("held", "cost", "one number more that trains", "number", 1, 1),
    Quantity("operations", "cost", "a step's operations", "FLOP", 2, 2e9),
)

# What no fault on this machine can show, whatever the verdict; by what must be there to see it.
ON_GPUS = "CUDA"
BLIND = (
    (ON_GPUS, "kernels of a GPU, bfloat16 on it, bytes and times that it takes"),
    ("real weights", "what only the published sizes and vocabulary do"),
    (
        "a tied model",
        "a head that shares the embedding's weights: the stand-in has its own",
    ),
    ("times", "those of one stack differ between two runs by more than a verdict could tell"),
)


def blind_on(device_key: str) -> tuple[str, ...]:
    """The names of what no verdict on that kind of device sees."""
    names = (name for name, _ in BLIND)
    return tuple(n for n in names if not (n == ON_GPUS and device_key.startswith("cuda")))


@dataclass(frozen=True)
class Seen:
    """What became of one quantity. reported: the smallest size tried that turned its rung red; None
    where even the largest did not. unseen: the largest size tried that did not. finding: the first
    that was red at the smallest. tries: how many sizes were measured. red_without: the rung is red
    without a fault, and what is red in addition was looked at; with no try at all, nothing was."""

    quantity: str
    rung: str
    reported: float | None
    unseen: float
    finding: str
    tries: int
    red_without: bool = False


@dataclass(frozen=True)
class PowerTable:
    """goldens: digest of what was judged against. versions: of the stack's libraries."""

    stack: str
    device_key: str
    model: str
    model_digest: str
    recipe: str
    goldens: str
    commit: str
    created: str
    seen: tuple[Seen, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = POWER_SCHEMA


@dataclass(frozen=True)
class Worth:
    """What a verdict says of itself. table: None where none was measured for its stack and device.
    stale: what has changed since it was."""

    table: PowerTable | None = None
    stale: tuple[str, ...] = ()


def power_path(device_key: str, stack: str, root: Path = GOLDEN) -> Path:
    """Address of a stack's table on a kind of device."""
    return root / "power" / device_key / f"{stack}.json"


def write_power(table: PowerTable, path: Path) -> None:
    """Write the table, sealed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, asdict(table))


def read_power(path: Path) -> PowerTable:
    """The table. Raises BadInput naming it where it is malformed, Damaged where it was edited."""
    raw = read_sealed(path, MEND)
    if raw.get("schema") != POWER_SCHEMA:
        raise BadInput(f"{path} is no table of schema {POWER_SCHEMA}; {MEND}.")
    try:
        return build(PowerTable, raw, Rules())
    except ValueError as error:
        raise BadInput(f"{path} is not a complete table ({error}); {MEND}.") from error
