"""What a model holds of a saved adapter after its own `load_adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SAVED = "adapter_model.safetensors"


def tensors_unread(folder: Path, model: Any) -> int:
    """How many tensors of a saved adapter no adapter weight of the model holds, bit for bit in the
    weight's own dtype.

    By their values, for releases name them otherwise: a trained `lora_A` is like no other. What is
    renamed into nothing is reported by the library and left as it was initialised.
    """
    from safetensors.torch import load_file

    weights = [weight for name, weight in model.named_parameters() if "lora_" in name]
    return sum(not _is_held(tensor, weights) for tensor in load_file(folder / SAVED).values())


def _is_held(tensor: Any, weights: list[Any]) -> bool:
    return any(
        weight.shape == tensor.shape
        and bool((weight == tensor.to(device=weight.device, dtype=weight.dtype)).all())
        for weight in weights
    )
