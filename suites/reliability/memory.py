"""What a call takes of memory and time in this process, by the kernel's own high-water mark."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Cost:
    """megabytes: the largest resident size during the call above that before it. seconds: wall
    time. refusal: the sentence that the call was refused with, empty where it was not."""

    megabytes: float
    seconds: float
    refusal: str


def _kilobytes(field: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1])


def cost(call: Callable[[], object]) -> Cost:
    """Run a call once. Anything but BadInput is passed on."""
    Path("/proc/self/clear_refs").write_text("5")  # the mark starts again from what is held now
    before, begun, refusal = _kilobytes("VmRSS"), time.monotonic(), ""
    try:
        call()
    except BadInput as error:
        refusal = str(error)
    return Cost((_kilobytes("VmHWM") - before) / 1000, time.monotonic() - begun, refusal)
