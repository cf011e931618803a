"""What two measurements of one stack may differ by, drawn from a seed before measuring."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.record import RUNGS

SEED = 16
STACKS = ("reference", "latest")
# Of each stack: enough for more than a hundred pairs of two stacks together.
OF_A_STACK = 12
# What takes seconds; a training and its texts take minutes.
LADDER = (*RUNGS[1:11], "cost")
# Beside rungs 1 to 10 and 13 whole, in the ladder's order: their second half first, or all of them
# the other way round; and parts of them, so that other rungs ran before in the same process. The
# rung that hears what libraries say is measured first in each (child/job.py).
PARTS = (
    LADDER,
    (*LADDER[5:], *LADDER[:5]),
    LADDER[::-1],
    ("text", "ids", "images", "labels"),
    ("forward", "inputs", "model", "backward", "update"),
    ("images", "interface", "forward", "cost"),
    ("update", "labels", "ids", "forward", "text"),
)
ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati")
# (name, charmap): none of them writes a number as C does but C itself.
LOCALES = (
    ("C", ""),
    ("C.utf8", ""),
    ("de_DE", "ISO-8859-1"),
    ("tr_TR", "UTF-8"),
)
FOLDERS = ("short", "with spaces, ü and ß", "/".join(["deep"] * 20), "link")
# Which vector instructions the libraries' kernels may use: all that the processor has (avx2 where
# the committed record was measured), or none, as on a processor of the kind `default`.
NATIVE = "native"
KERNELS: Mapping[str, Mapping[str, str]] = {
    NATIVE: {},
    "default": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}


@dataclass(frozen=True)
class Circumstance:
    """One measurement of a stack. rungs: in the order in which one process measures them. locale:
    its name, with a dot its charmap where it is made for this. kernels: as in KERNELS; another than
    `native` is emulated."""

    stack: str
    number: int
    rungs: tuple[str, ...]
    threads: int
    zone: str
    locale: str
    folder: str
    kernels: str
    hash_seed: int

    @property
    def name(self) -> str:
        """`reference-03`."""
        return f"{self.stack}-{self.number:02d}"

    @property
    def variables(self) -> dict[str, str]:
        """Of the measuring process, on top of the usual ones."""
        settings = {"TZ": self.zone, "LC_ALL": self.locale, "LANG": self.locale}
        settings["PYTHONHASHSEED"] = str(self.hash_seed)
        return {**settings, **KERNELS[self.kernels]}


def drawn(seed: int = SEED) -> tuple[Circumstance, ...]:
    """The circumstances of every stack: each value of each kind about equally often, which goes
    with which by chance."""
    draw = random.Random(seed)
    return tuple(one for stack in STACKS for one in _of(stack, draw))


def _of(stack: str, draw: random.Random) -> Iterator[Circumstance]:
    def shuffled(values: Sequence[Any]) -> list[Any]:
        repeated = [values[i % len(values)] for i in range(OF_A_STACK)]
        draw.shuffle(repeated)
        return repeated

    locales = tuple(f"{name}.{charmap}" if charmap else name for name, charmap in LOCALES)
    columns: tuple[Sequence[Any], ...] = (PARTS, (1, 2), ZONES, locales, FOLDERS, tuple(KERNELS))
    for number, row in enumerate(zip(*map(shuffled, columns), strict=True)):
        yield Circumstance(stack, number, *row, draw.randrange(2**32))
