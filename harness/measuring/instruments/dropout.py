"""What dropout modules really drop, counted while they run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Six standard deviations: one false alarm in 5e8 runs.
_DEVIATIONS = 6.0


@dataclass
class Dropped:
    """Elements that went into dropout modules and were not zero; of them those that came out as
    zero; and how many should have, by the declared rates. scale_gap: the largest relative distance
    of what came through a training module from its input over the share that is kept."""

    elements: int = 0
    dropped: int = 0
    wanted: float = 0.0
    variance: float = 0.0
    scale_gap: float = 0.0

    @property
    def share(self) -> float:
        """Dropped, of all."""
        return self.dropped / self.elements if self.elements else 0.0

    @property
    def wanted_share(self) -> float:
        """What the rates make of these elements."""
        return self.wanted / self.elements if self.elements else 0.0

    @property
    def tolerance(self) -> float:
        """Of the share: what chance may do."""
        return _DEVIATIONS * math.sqrt(self.variance) / self.elements if self.elements else 0.0


def rates_of(model: Any) -> dict[str, float]:
    """The declared rate of every dropout module by name: an adapter's by its config, which stands
    in the file, another's by itself."""
    import torch

    adapters = adapter_rates(model)
    rates = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            own = name.rsplit(".", 1)[-1]
            declared = adapters.get(own) if ".lora_dropout." in name else None
            rates[name] = float(module.p) if declared is None else declared
    return rates


def adapter_rates(model: Any) -> dict[str, float]:
    """`lora_dropout` of every adapter by its name; none without peft."""
    configs = getattr(model, "peft_config", None)
    configs = configs if isinstance(configs, Mapping) else {}
    return {name: float(getattr(c, "lora_dropout", 0.0) or 0.0) for name, c in configs.items()}


@contextlib.contextmanager
def counted(model: Any, dropped: Dropped) -> Iterator[None]:
    """While it lasts, what passes through the model's dropout modules is counted."""
    rates = rates_of(model)

    def hook(rate: float) -> Any:
        def count(module: Any, args: Any, output: Any) -> None:
            given, output = args[0].detach(), output.detach()
            counts = given != 0
            elements = int(counts.sum())
            dropped.elements += elements
            dropped.dropped += int((counts & (output == 0)).sum())
            dropped.wanted += rate * elements
            dropped.variance += rate * (1 - rate) * elements
            kept = counts & (output != 0)
            if module.training and bool(kept.any()):
                gap = output[kept].double() * (1 - rate) / given[kept].double() - 1
                dropped.scale_gap = max(dropped.scale_gap, float(gap.abs().max()))

        return count

    handles = [
        module.register_forward_hook(hook(rates[name]))
        for name, module in model.named_modules()
        if rates.get(name, 0.0) > 0
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
