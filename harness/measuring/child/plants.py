"""Faults of a graded size, planted into the pipeline or a library while a rung is measured.

Each is known by its quantity's name (records/power.py). None knows a family: modules come from the
family's own parts, tensors by what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from harness.measuring.child import late_plants
from harness.measuring.child.edits import Plant, edited_result, first_tensor
from harness.measuring.models import family, of_snapshot, parts
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter, collate
from harness.recipe.published import IGNORE_INDEX


def _character(size: float) -> Plant:
    def edit(processor: Any) -> Any:
        # An expression, for a template that ends by taking the spaces after it away.
        processor.chat_template += "{{ ' ' }}" * round(size)
        return processor

    return edited_result(loading, "load_processor", edit)


def _id(size: float) -> Plant:
    """The last real token of the first row is its neighbour in the vocabulary."""
    from harness.measuring.probes import ids

    def edit(collator: Any) -> Any:
        def collated(examples: Any) -> Any:
            batch = collator(examples)
            last = int(batch["attention_mask"][0].nonzero()[-1])
            batch["input_ids"][0, last] += round(size)
            return batch

        return collated

    return edited_result(ids, "make_collator", edit)


def _level(size: float) -> Plant:
    """The first value of every picture's pixels."""
    load = loading.load_processor

    def loaded(snapshot: Any, **kwargs: Any) -> Any:
        processor = load(snapshot, **kwargs)
        tensors = family(of_snapshot(snapshot)).TENSORS
        pixels = next(name for name, tensor in tensors.items() if tensor.holds == "pixels")
        images = processor.image_processor
        process = images.preprocess
        step = size / 255 / float(images.image_std[0])

        def processed(*args: Any, **kwargs: Any) -> Any:
            batch = process(*args, **kwargs)
            batch[pixels][(0,) * batch[pixels].ndim] += step
            return batch

        images.preprocess = processed
        return processor

    return mock.patch.object(loading, "load_processor", loaded)


def _label(size: float) -> Plant:
    """The last label of the first row is lost."""

    def edit(labels: Any) -> Any:
        changed = labels.clone()
        kept = (changed[0] != IGNORE_INDEX).nonzero()
        changed[0, kept[-round(size) :]] = IGNORE_INDEX
        return changed

    return edited_result(collate, "recipe_labels", edit)


def _adapter(size: float) -> Plant:
    def edit(model: Any) -> Any:
        frozen = [p for name, p in model.named_parameters() if "lora_A" in name]
        for parameter in frozen[: round(size)]:
            parameter.requires_grad_(False)
        return model

    return edited_result(adapter, "add_lora", edit)


def _pixels(size: float) -> Plant:
    def edit(model: Any) -> Any:
        def before(module: Any, args: Any, kwargs: Any) -> Any:
            if args:
                return first_tensor(args, lambda x: x * (1 + size)), kwargs
            names = list(kwargs)
            values = first_tensor([kwargs[n] for n in names], lambda x: x * (1 + size))
            return args, dict(zip(names, values, strict=True))

        parts(model).tower.register_forward_pre_hook(before, with_kwargs=True)
        return model

    return edited_result(loading, "load_model", edit)


def _position(size: float) -> Plant:
    def edit(model: Any) -> Any:
        def before(module: Any, args: Any, kwargs: Any) -> Any:
            positions = kwargs.get("position_ids")
            if positions is not None:
                kwargs["position_ids"] = positions.clone()
                kwargs["position_ids"][..., -1] += round(size)
            return args, kwargs

        parts(model).decoder.register_forward_pre_hook(before, with_kwargs=True)
        return model

    return edited_result(loading, "load_model", edit)


def _loss(size: float) -> Plant:
    import torch

    return edited_result(torch.nn.functional, "cross_entropy", lambda loss: loss * (1 + size))


def _layer(size: float) -> Plant:
    def edit(model: Any) -> Any:
        def after(module: Any, args: Any, out: Any) -> Any:
            return first_tensor(out, lambda x: x * (1 + size))

        parts(model).layers[0].register_forward_hook(after)
        return model

    return edited_result(loading, "load_model", edit)


def _lora(size: float) -> Plant:
    """Whatever numbers the module holds."""

    def edit(model: Any) -> Any:
        first = next(module for module in model.modules() if hasattr(module, "lora_B"))
        first.scaling = {name: scale * (1 - size) for name, scale in first.scaling.items()}
        return model

    return edited_result(adapter, "add_lora", edit)


def _gradient(size: float) -> Plant:
    """Through every LoRA layer."""
    import torch
    from peft.tuners.lora import layer

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * (1 + size)

    return edited_result(layer.Linear, "forward", Scaled.apply)


@contextmanager
def _rate(size: float) -> Iterator[None]:
    import torch

    make = torch.optim.AdamW.__init__

    def edited(self: Any, params: Any, *args: Any, **kwargs: Any) -> None:
        for holder in (kwargs, *(g for g in params if isinstance(g, dict))):
            if "lr" in holder:
                holder["lr"] *= 1 + size
        make(self, params, *args, **kwargs)

    with mock.patch.object(torch.optim.AdamW, "__init__", edited):
        yield


PLANTS: Mapping[str, Callable[[float], Plant]] = {
    "character": _character,
    "id": _id,
    "level": _level,
    "label": _label,
    "adapter": _adapter,
    "pixels": _pixels,
    "position": _position,
    "loss": _loss,
    "layer": _layer,
    "lora": _lora,
    "gradient": _gradient,
    "rate": _rate,
    **late_plants.PLANTS,
}
