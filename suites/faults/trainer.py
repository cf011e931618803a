"""Faults of what the trainer logs of a step, and of what it gives the model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result
from suites.faults.late import briefly


def logged_otherwise(edit: Callable[[dict[str, Any]], None]) -> AbstractContextManager[None]:
    """What is logged is edited."""
    from transformers import Trainer

    def edited(args: Any, kwargs: Any) -> Any:
        edit(args[1])
        return args, kwargs

    return edited_arguments(Trainer, "log", edited)


def clipped_norm_logged() -> AbstractContextManager[None]:
    """A gradient's norm is logged as it is after it was clipped."""
    from accelerate import Accelerator

    clip = Accelerator.clip_grad_norm_

    def clipped(self: Any, parameters: Any, most: float, *args: Any, **kwargs: Any) -> Any:
        return clip(self, parameters, most, *args, **kwargs).clamp(max=most)

    return mock.patch.object(Accelerator, "clip_grad_norm_", clipped)


def places_of_micro_batches() -> AbstractContextManager[None]:
    """An epoch's place is counted in steps of half its rows."""
    from transformers import Trainer

    def edit(args: Any, kwargs: Any) -> Any:
        args[0].state.epoch /= 2
        return args, kwargs

    return edited_arguments(Trainer, "log", edit)


def mean_of_the_last() -> AbstractContextManager[None]:
    """The mean of the losses is one step's too many."""

    def edit(logs: dict[str, Any]) -> None:
        if "train_loss" in logs:
            logs["train_loss"] *= 1.25

    return logged_otherwise(edit)


def padding_counted() -> AbstractContextManager[None]:
    """Tokens are counted with the padding between them."""

    def edit(logs: dict[str, Any]) -> None:
        if "num_tokens" in logs:
            logs["num_tokens"] += 3

    return logged_otherwise(edit)


def accuracy_of_more() -> AbstractContextManager[None]:
    """One target in fifty more counts as the likeliest."""

    def edit(logs: dict[str, Any]) -> None:
        if "mean_token_accuracy" in logs:
            logs["mean_token_accuracy"] += 1 / 50

    return logged_otherwise(edit)


def sums_logged_as_means() -> AbstractContextManager[None]:
    """The entropies of a step's micro-batches are added up."""

    def edit(logs: dict[str, Any]) -> None:
        if "entropy" in logs:
            logs["entropy"] *= 2

    return logged_otherwise(edit)


def counts_not_logged() -> AbstractContextManager[None]:
    """What trl counts by itself does not reach the log."""

    def edit(logs: dict[str, Any]) -> None:
        for name in ("entropy", "num_tokens", "mean_token_accuracy"):
            logs.pop(name, None)

    return logged_otherwise(edit)


def every_step_logged() -> AbstractContextManager[None]:
    """Each step is logged, whatever was asked for."""
    from transformers import DefaultFlowCallback

    def edit(control: Any) -> Any:
        control.should_log = True
        return control

    return edited_result(DefaultFlowCallback, "on_step_end", edit)


def one_kernel_a_tensor() -> AbstractContextManager[None]:
    """AdamW's fused implementation is asked for and not taken."""
    import torch

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "fused": False}

    return edited_arguments(torch.optim.AdamW, "__init__", edit)


def never_in_training_mode() -> AbstractContextManager[None]:
    """The model is evaluating while it is trained."""
    from trl import SFTTrainer

    def edit(args: Any, kwargs: Any) -> Any:
        args[1].eval()
        return args, kwargs

    return edited_arguments(SFTTrainer, "compute_loss", edit)


def pixels_in_half() -> AbstractContextManager[None]:
    """The trainer hands pixels over rounded to bfloat16."""
    from transformers import Trainer

    def edit(inputs: Any) -> Any:
        pixels = inputs["pixel_values"]
        return {**inputs, "pixel_values": pixels.bfloat16().to(pixels.dtype)}

    return edited_result(Trainer, "_prepare_inputs", edit)


def a_target_lost() -> AbstractContextManager[None]:
    """On its way to the model each row loses its last target."""
    from transformers import Trainer

    def edit(inputs: Any) -> Any:
        labels = inputs["labels"].clone()
        labels[:, -1] = -100
        return {**inputs, "labels": labels}

    return edited_result(Trainer, "_prepare_inputs", edit)


FAULTS = (
    Fault(
        "trajectory",
        "every step logged",
        "trajectory.log_strays",
        briefly(every_step_logged),
        slow=True,
    ),
    Fault("update", "not the fused optimizer", "update.fused", one_kernel_a_tensor, slow=True),
    *(
        Fault("update", name, f"update.{finds}", plant, only=only, slow=True)
        for name, finds, plant, only in (
            ("a clipped norm logged", "logged_norm_gap.clipped", clipped_norm_logged, None),
            ("epochs counted at half speed", "logged_epochs", places_of_micro_batches, None),
            ("a mean loss over too few steps", "mean_loss_gap", mean_of_the_last, None),
            ("padding counted as tokens", "logged_tokens_gap", padding_counted, "latest"),
            ("more targets held the likeliest", "logged_accuracy_gap", accuracy_of_more, "latest"),
            ("entropies added up", "logged_entropy_gap", sums_logged_as_means, "latest"),
            ("counts are not logged", "logged_tokens_gap", counts_not_logged, "latest"),
            ("trained in evaluation mode", "trained_in", never_in_training_mode, None),
            ("pixels in bfloat16 to the model", "batch_gap", pixels_in_half, None),
            ("the last targets lost on the way", "batch_gap", a_target_lost, None),
        )
    ),
)
