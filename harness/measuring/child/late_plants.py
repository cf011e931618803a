"""Faults of a graded size of the training, of its texts and of its cost: rungs 11 to 13."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

from harness.measuring.child.edits import Plant, edited_result
from harness.measuring.models import parts
from harness.measuring.probes import _generate
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter, trainer
from harness.recipe.published import IGNORE_INDEX


def _training_rate(size: float) -> Plant:
    """Of the whole training, against what the recipe says."""
    from trl import SFTConfig

    make = SFTConfig.__init__

    def edited(self: Any, *args: Any, **kwargs: Any) -> None:
        if "learning_rate" in kwargs:
            kwargs["learning_rate"] *= 1 + size
        make(self, *args, **kwargs)

    return mock.patch.object(SFTConfig, "__init__", edited)


def _training_label(size: float) -> Plant:
    """The last labels of the first row of the training's first batch, once: of the trainer's own
    collator, for what looks whether a batch fits collates one before it."""
    left = [round(size)]

    def edit(collator: Any) -> Any:
        def collated(examples: Any) -> Any:
            batch = collator(examples)
            kept = (batch["labels"][0] != IGNORE_INDEX).nonzero()
            batch["labels"][0, kept[len(kept) - left[0] :]] = IGNORE_INDEX
            left[0] = 0
            return batch

        return collated

    return edited_result(trainer, "make_collator", edit)


def _scaled(size: float) -> Callable[[Any], Any]:
    """Every adapter of a loaded model adds less than it was trained to."""

    def edit(model: Any) -> Any:
        for module in model.modules():
            scaling = getattr(module, "scaling", None)
            if isinstance(scaling, dict):
                scaling.update({name: scale * (1 - size) for name, scale in scaling.items()})
        return model

    return edit


def _loaded_adapter(size: float) -> Plant:
    from peft import PeftModel

    return edited_result(PeftModel, "from_pretrained", _scaled(size))


def _merged_adapter(size: float) -> Plant:
    from peft.tuners.lora import layer

    return edited_result(layer.Linear, "get_delta_weight", lambda delta: delta * (1 + size))


def _token(size: float) -> Plant:
    """The first tokens of the first text of every batch of several are their neighbours."""
    whole = _generate.new_tokens

    def edited(tokens: Any, inputs: Mapping[str, Any]) -> Any:
        new = whole(tokens, inputs)
        if len(new) > 1:
            new = new.clone()
            new[0, : round(size)] += 1
        return new

    return mock.patch.object(_generate, "new_tokens", edited)


def _held(size: float) -> Plant:
    """Parameters that train and are used nowhere."""
    import torch

    def edit(model: Any) -> Any:
        unused = torch.nn.Parameter(torch.zeros(round(size)))
        parts(model).decoder.register_parameter("unused", unused)
        return model

    return edited_result(adapter, "add_lora", edit)


def _operations(size: float) -> Plant:
    """A product of two square matrices beside the first layer: 2 n³ operations."""
    import torch

    side = max(1, round((size / 2) ** (1 / 3)))
    square = torch.ones(side, side)

    def after(module: Any, args: Any, out: Any) -> None:
        torch.mm(square, square)

    def edit(model: Any) -> Any:
        parts(model).layers[0].register_forward_hook(after)
        return model

    return edited_result(loading, "load_model", edit)


PLANTS: Mapping[str, Callable[[float], Plant]] = {
    "training rate": _training_rate,
    "training label": _training_label,
    "loaded adapter": _loaded_adapter,
    "merged adapter": _merged_adapter,
    "text token": _token,
    "text adapter": _loaded_adapter,
    "held": _held,
    "operations": _operations,
}
