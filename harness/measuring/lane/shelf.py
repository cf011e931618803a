"""The loaded model, kept once per process: copies are handed out, so that a case costs no load."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.measuring import _compat
from harness.measuring.instruments.meters import reset_cuda_memory
from harness.measuring.lane.meters import allocated, memory_now
from harness.measuring.snapshots.loading import QuantisationMode, load_model


@dataclass
class Shelf:
    """One 4-bit model as `from_pretrained` left it.

    phase: memory around the load (empty on a CPU). seconds: of the load. kept_bytes: those that the
    kept model takes on the device, to be subtracted from a peak.
    """

    snapshot: Path
    device: str
    quantisation: QuantisationMode
    seconds: float = 0.0
    kept_bytes: int = 0
    phase: dict[str, int] = field(default_factory=dict)
    _model: Any = None

    @property
    def model(self) -> Any:
        """The kept model itself: measure it, never change it."""
        if self._model is None:
            reset_cuda_memory(self.device)
            before = allocated(self.device)
            begin = time.perf_counter()
            on_cuda = self.device.startswith("cuda")
            self._model = load_model(
                self.snapshot,
                device=self.device,
                dtype="bfloat16" if on_cuda else "float32",
                quantisation=self.quantisation,
                attention=_compat.training_attention(self.device),
                # The recipe's own placement; on a CPU accelerate would still look for a card.
                device_map="auto" if on_cuda else None,
            )
            self.seconds = time.perf_counter() - begin
            self.kept_bytes = allocated(self.device) - before
            self.phase = memory_now(self.device)
        return self._model

    def copy(self) -> Any:
        """A model of its own, bit for bit the kept one, on the same device."""
        return copy.deepcopy(self.model)
