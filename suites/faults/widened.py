"""Faults of kinds that the trial found unseen: what the trainer does of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result
from suites.faults.late import briefly
from suites.faults.model import lora
from suites.faults.unseen import (
    argument,
    batch,
    gradients_kept,
    never_shuffled,
    tower_angles_rounded,
    turned,
    without_an_end,
)


def epochs_alike() -> AbstractContextManager[Any]:
    """The second epoch takes its rows in the order of the first."""
    from accelerate.data_loader import SeedableRandomSampler

    return mock.patch.object(SeedableRandomSampler, "set_epoch", return_value=None)


def epochs_begin_later() -> AbstractContextManager[Any]:
    """Rows are in the order of another seed: the first epoch's is the second one's."""
    from accelerate.data_loader import SeedableRandomSampler

    return edited_arguments(
        SeedableRandomSampler, "set_epoch", lambda args, kwargs: ((args[0], args[1] + 1), kwargs)
    )


@contextmanager
def left_over_lost() -> Iterator[None]:
    """What is left over at the end of an epoch is not trained."""
    from transformers import Trainer

    load = Trainer.get_train_dataloader

    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        loader = load(self, *args, **kwargs)
        batches = self.args.gradient_accumulation_steps
        rows = batches * self.args.per_device_train_batch_size
        data = self.train_dataset
        kept = list(range(len(data) // rows * rows))
        if len(kept) in (0, len(data)):
            return loader
        from torch.utils.data import Subset

        with mock.patch.object(self, "train_dataset", Subset(data, kept)):
            return load(self, *args, **kwargs)

    with mock.patch.object(Trainer, "get_train_dataloader", whole):
        yield


@contextmanager
def left_over_divided_by_all() -> Iterator[None]:
    """The step of an epoch's rest is divided as if it had every micro-batch."""
    from transformers import Trainer

    def edit(given: Any) -> Any:
        batches, targets = given
        return (batches, targets * 2) if len(batches) == 1 else given

    with edited_result(Trainer, "get_batch_samples", edit):
        yield


def masks_drawn_anew() -> AbstractContextManager[None]:
    """What checkpointing computes again has dropout masks of its own."""
    from transformers import PreTrainedModel

    def edit(args: Any, kwargs: Any) -> Any:
        asked = {**(kwargs.get("gradient_checkpointing_kwargs") or {}), "preserve_rng_state": False}
        return args, {**kwargs, "gradient_checkpointing_kwargs": asked}

    return edited_arguments(PreTrainedModel, "gradient_checkpointing_enable", edit)


def decoder_base_lowered(model: Any) -> Any:
    """The decoder's rotary frequencies are those of a base of 10,000, a default's."""
    from harness.measuring.models import parts

    frequencies = parts(model).rotary.inv_freq
    frequencies.pow_(2 / 3)
    return model


@contextmanager
def opened_as(edit: Any, ways: tuple[str, ...]) -> Iterator[None]:
    """What the fetch library opens from a name that begins so is edited."""
    from PIL import Image

    real = Image.open

    def opened(source: Any, *args: Any, **kwargs: Any) -> Any:
        picture = real(source, *args, **kwargs)
        kind = source if isinstance(source, str) else "bytes"
        return edit(picture) if kind.startswith(ways) else picture

    with mock.patch.object(Image, "open", opened):
        yield


def pictures_turned_round(inputs: Any) -> Any:
    """Of a batch of several rows the patches come in reverse order."""
    if len(inputs["input_ids"]) > 1:
        inputs["pixel_values"] = inputs["pixel_values"].flip(0)
    return inputs


def next_rate_logged() -> AbstractContextManager[None]:
    """What is logged as a step's rate is read when the schedule has gone on."""
    from transformers import Trainer

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {name: value for name, value in kwargs.items() if name != "learning_rate"}

    return edited_arguments(Trainer, "_maybe_log_save_evaluate", edit)


FAULTS = (
    Fault(
        "update",
        "the next step's rate logged",
        "update.logged_rate_gap",
        next_rate_logged,
        only="latest",
        slow=True,
    ),
    Fault(
        "inputs",
        "a batch's pictures in reverse",
        "inputs.picture_rows",
        lambda: batch(pictures_turned_round),
        slow=True,
    ),
    Fault(
        "generation",
        "no end token is known",
        "generation.ended_after",
        briefly(without_an_end),
        slow=True,
    ),
    Fault(
        "images",
        "a file's picture in eight levels",
        "images.opened_gap.path_rgb",
        lambda: opened_as(lambda p: p.convert("RGB").quantize(8).convert("RGB"), ("/",)),
    ),
    Fault(
        "images",
        "bytes are opened with blue for red",
        "images.opened_gap.data_uri_rgb",
        lambda: opened_as(lambda p: turned(p.convert("RGB")), ("bytes",)),
        slow=True,
    ),
    Fault(
        "forward",
        "rotary frequencies of the tower in bfloat16",
        "forward.frequency_gap.tower",
        lambda: lora(tower_angles_rounded),
        slow=True,
    ),
    Fault(
        "forward",
        "another base of the decoder's angles",
        "forward.rotary_base.decoder",
        lambda: lora(decoder_base_lowered),
        slow=True,
    ),
    Fault(
        "backward",
        "computed again with other masks",
        "backward.dropout_checkpoint_gap",
        masks_drawn_anew,
        slow=True,
    ),
    Fault("update", "clipped at 1.0", "update.own_threshold", lambda: argument(max_grad_norm=1.0)),
    Fault(
        "update",
        "not clipped at all",
        "update.own_threshold",
        lambda: argument(max_grad_norm=0.0),
        slow=True,
    ),
    Fault(
        "update",
        "gradients of two steps added up",
        "update.step_gap.later",
        gradients_kept,
        slow=True,
    ),
    Fault("update", "rows in the order of the data", "update.row_order", never_shuffled, slow=True),
    Fault(
        "update",
        "another seed of the rows",
        "update.row_order",
        epochs_begin_later,
        slow=True,
    ),
    Fault("update", "epochs alike", "update.row_order.epoch_1", epochs_alike, slow=True),
    Fault("update", "left-over rows lost", "update.rows_of_steps", left_over_lost, slow=True),
    Fault(
        "update",
        "a last, smaller batch left out",
        "update.rows_of_steps",
        lambda: argument(dataloader_drop_last=True),
        slow=True,
    ),
    Fault(
        "update",
        "left-over rows divided by all",
        "update.step_gap.shorter",
        left_over_divided_by_all,
        only="latest",
        slow=True,
    ),
)
