"""Faults of kinds that were found a rung too late, at their own: a tower's inside, weights rounded
before they are quantised, and what the trainer makes of a batch, its loss and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result


def exact_gelu() -> AbstractContextManager[Any]:
    """A tower's quick_gelu is the exact one."""
    from torch.nn.functional import gelu
    from transformers.activations import QuickGELUActivation

    return mock.patch.object(QuickGELUActivation, "forward", lambda self, given: gelu(given))


def blocks_add_more() -> AbstractContextManager[None]:
    """What the MLPs of the tower's blocks add is 1 % more."""
    from harness.measuring.models import parts
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        for block in parts(model).blocks:
            block.mlp.register_forward_hook(lambda module, args, added: added * 1.01)
        return model

    return edited_result(loading, "load_model", edit)


def halved() -> AbstractContextManager[None]:
    """Weights pass through float16 on their way into four bits."""
    from bitsandbytes import functional

    def edit(args: Any, kwargs: Any) -> Any:
        return (args[0].half().to(args[0].dtype), *args[1:]), kwargs

    return edited_arguments(functional, "quantize_4bit", edit)


@contextmanager
def built_otherwise(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """edit: of the keywords that the trainer is built with, which are read off its signature."""
    from trl import SFTTrainer

    build = SFTTrainer.__init__

    @wraps(build)
    def edited(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **{**kwargs, **edit(kwargs)})

    with mock.patch.object(SFTTrainer, "__init__", edited):
        yield


def a_target_masked(keywords: dict[str, Any]) -> dict[str, Any]:
    """Of each row that the trainer collates the last label is taken away."""
    collate = keywords["data_collator"]

    def masked(rows: Any) -> Any:
        given = collate(rows)
        for row, labels in enumerate(given["labels"]):
            given["labels"][row, (labels != -100).nonzero()[-1]] = -100
        return given

    return {"data_collator": masked}


def padded_right(keywords: dict[str, Any]) -> dict[str, Any]:
    """The trainer turns its tokenizer's side of padding."""
    for name in ("tokenizer", "processing_class"):
        if name in keywords:
            keywords[name].padding_side = "right"
    return {}


def losses(edit: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """edit: of the loss that the trainer computes."""
    from trl import SFTTrainer

    return edited_result(SFTTrainer, "compute_loss", edit)


FAULTS = (
    Fault("inputs", "another gelu in the tower", "inputs.image_features.one", exact_gelu),
    Fault(
        "inputs",
        "the tower's MLPs add 1 % more",
        "inputs.image_features.two",
        blocks_add_more,
    ),
    Fault(
        "labels",
        "a target less in the trainer",
        "labels.trainer_labels_off",
        lambda: built_otherwise(a_target_masked),
    ),
    Fault(
        "forward",
        "the trainer's loss 0.1 % too large",
        "forward.trainer_loss_gap.left",
        lambda: losses(lambda loss: loss * 1.001),
        slow=True,
    ),
    Fault(
        "backward",
        "the trainer's loss has 0.1 % more of a gradient",
        "backward.trainer_gap.right",
        lambda: losses(lambda loss: loss + 0.001 * (loss - loss.detach())),
        slow=True,
    ),
    Fault(
        "update",
        "the trainer pads on the right",
        "update.padded_right",
        lambda: built_otherwise(padded_right),
        slow=True,
    ),
    Fault(
        "model",
        "weights halved before they are quantised",
        "model.drawn_nf4_gap",
        halved,
        only="latest",
    ),
)
