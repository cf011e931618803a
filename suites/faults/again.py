"""Faults of what a model remembers of an earlier call, and of dropout: rung 8."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_result


def dropout_lost() -> AbstractContextManager[Any]:
    """Adapters train without dropout."""
    import torch

    return mock.patch.object(torch.nn.Dropout, "forward", lambda module, x: x)


def dropout_unscaled() -> AbstractContextManager[Any]:
    """What is kept is not divided by the share that is kept."""
    import torch

    def forward(module: Any, x: Any) -> Any:
        dropped = torch.nn.functional.dropout(x, module.p, module.training)
        return dropped * (1 - module.p) if module.training else dropped

    return mock.patch.object(torch.nn.Dropout, "forward", forward)


def kept_keys_scaled() -> AbstractContextManager[Any]:
    """A cache gives back other keys than it was given."""
    from transformers import DynamicCache

    return edited_result(DynamicCache, "update", lambda kept: (kept[0] * 1.001, kept[1]))


def generation_leaves_a_scale() -> AbstractContextManager[Any]:
    """After a generation the same model's forward gives other logits."""
    from harness.measuring.probes import _again

    generated = _again.generated

    def leaves(model: Any, prompts: dict[str, Any], *, kept: bool) -> Any:
        given = generated(model, prompts, kept=kept)
        model.get_base_model().lm_head.register_forward_hook(lambda m, a, out: out * 1.01)
        return given

    return mock.patch.object(_again, "generated", leaves)


def pictures_of_other_rows() -> AbstractContextManager[Any]:
    """Where rows have different numbers of pictures, each picture goes one patch too far."""
    from harness.measuring.models import family
    from harness.measuring.probes import _mixed

    collated = _mixed.batch

    def shifted(context: Any, side: str, rows: Any) -> dict[str, Any]:
        inputs = collated(context, side, rows)
        if len(rows) > 1:
            tensors = family(context.family).TENSORS.items()
            (pixels,) = (name for name, tensor in tensors if tensor.holds == "pixels")
            inputs[pixels] = inputs[pixels].roll(1, 0)
        return inputs

    return mock.patch.object(_mixed, "batch", shifted)


FAULTS = (
    Fault(
        "forward",
        "pictures of a batch in other rows",
        "forward.single_gap.mixed",
        pictures_of_other_rows,
        slow=True,
    ),
    Fault("forward", "dropout never applied", "forward.dropout_share", dropout_lost, slow=True),
    Fault(
        "forward", "dropout not scaled", "forward.dropout_scale_gap", dropout_unscaled, slow=True
    ),
    Fault("forward", "kept keys off by 0.1 %", "forward.cache_gap", kept_keys_scaled, slow=True),
    Fault(
        "forward",
        "a generation leaves something behind",
        "forward.after_generation_gap",
        generation_leaves_a_scale,
        slow=True,
    ),
)
