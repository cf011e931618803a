"""The batches that a Trainer's own loader makes, each with the rows that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import BadInput, OutOfSpace
from harness.measuring import _compat
from harness.measuring.audit.opening import OpenTrainer
from harness.measuring.audit.training import Batch, Training
from harness.measuring.instruments.recorder import failure_of
from harness.measuring.models import families, family

# The collators' own: what they are given is told by whoever wraps them.
_LOSS_SETTINGS = (("assistant_only_loss", "assistant"), ("completion_only_loss", "completion"))


class _Seen:
    """The user's collator, and what each call of it was given. accelerate's loader collates a batch
    ahead of the one that it gives, so the last call is not the batch at hand."""

    def __init__(self, collate: Callable[[Sequence[Any]], Any]) -> None:
        self.collate, self.calls = collate, list[list[Any]]()

    def __call__(self, features: Sequence[Any]) -> Any:
        self.calls.append(list(features))
        return self.collate(features)


def training_of(opened: OpenTrainer, steps: int, loss_on: str) -> Training:
    """The training with its first batches. Raises BadInput where its loader gives none."""
    trainer = opened.trainer
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ != "DefaultFlowCallback":
            trainer.remove_callback(callback)
    batches = _batches(trainer, steps)
    core = _compat.core(trainer.accelerator.unwrap_model(trainer.model))
    return Training(
        trainer=trainer,
        batches=batches,
        processor=_processor(trainer),
        family=_family(core),
        declared=opened.declared,
        loss_on=loss_on or _declared_loss(opened.declared),
        steps=steps,
        quantisations=tuple(opened.quantisations),
        trace=opened.trace,
    )


def _batches(trainer: Any, steps: int) -> list[Batch]:
    import torch

    seen = _Seen(trainer.data_collator)
    trainer.data_collator = seen
    wanted = steps * int(trainer.args.gradient_accumulation_steps)
    device = next(trainer.model.parameters()).device
    batches = []
    if _is_empty(trainer.train_dataset):
        raise BadInput("The Trainer's dataset is empty: there is no batch to audit.")
    try:
        torch.manual_seed(int(trainer.args.seed))
        for inputs in trainer.get_train_dataloader():
            if "input_ids" not in inputs:
                names = ", ".join(map(str, inputs))
                raise BadInput(f"The collator's batches hold {names} and no input_ids.")
            moved = {n: v.to(device) if hasattr(v, "to") else v for n, v in inputs.items()}
            batches.append(Batch(moved, seen.calls[len(batches)]))
            if len(batches) == wanted:
                break
    except (BadInput, OutOfSpace):
        raise
    except Exception as error:  # whatever a dataset or a collator throws
        failure = failure_of(error)
        raise BadInput(
            f"The Trainer's data loader raises {failure.type}: {failure.message} "
            f"({failure.where}); there is no batch to audit."
        ) from error
    finally:
        trainer.data_collator = seen.collate
    if not batches:
        raise BadInput(
            "The Trainer's data loader gives no batch; its dataset is too short for one."
        )
    return batches


def _is_empty(dataset: Any) -> bool:
    """Whether a dataset says that it has no rows; one that streams cannot say it."""
    try:
        return len(dataset) == 0
    except TypeError:
        return False


def _processor(trainer: Any) -> Any:
    """What the Trainer encodes with, by either of its names; else what its collator keeps."""
    for name in ("processing_class", "tokenizer"):
        value = getattr(trainer, name, None)
        if value is not None:
            return _with_pictures(value, trainer.data_collator)
    return _with_pictures(None, trainer.data_collator)


def _with_pictures(known: Any, collate: Any) -> Any:
    """A processor among what the collator holds, where the Trainer knows a tokenizer at most."""
    if hasattr(known, "image_processor"):
        return known
    owned = [
        getattr(collate, name, None) for name in ("processor", "processing_class", "tokenizer")
    ]
    owned += [cell.cell_contents for cell in getattr(collate, "__closure__", None) or ()]
    code, names = getattr(collate, "__code__", None), getattr(collate, "__globals__", {})
    owned += [names.get(name) for name in (code.co_names if code else ())]
    processors = [value for value in owned if hasattr(value, "image_processor")]
    tokenizers = [value for value in owned if hasattr(value, "convert_ids_to_tokens")]
    return next(iter([*processors, *([known] if known is not None else []), *tokenizers]), None)


def _family(core: Any) -> Any:
    model_type = getattr(core.config, "model_type", None)
    for name in families():
        if model_type in family(name).MODEL_TYPES:
            return family(name)
    return None


def _declared_loss(declared: Any) -> str:
    for name, means in _LOSS_SETTINGS:
        if declared.get(name) is True:
            return means
    return ""
