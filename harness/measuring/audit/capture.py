"""The batches that a Trainer's own loader makes, each with the rows that it was made from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from harness.errors import BadInput
from harness.measuring import _compat
from harness.measuring.audit.contents import copied
from harness.measuring.audit.opening import OpenTrainer
from harness.measuring.audit.rows import feature_order
from harness.measuring.audit.training import Batch, Training
from harness.measuring.instruments.recorder import failure_of
from harness.measuring.models import of
from harness.records.disk import raise_of_the_disk

# The collators' own: what they are given is told by whoever wraps them.
_LOSS_SETTINGS = (("assistant_only_loss", "assistant"), ("completion_only_loss", "completion"))


class _Seen:
    """The user's collator, and the rows of each of its calls, as they were before it had them.

    A loader may be a batch ahead of whoever reads it: the n-th call's rows are the n-th batch's.
    columns: those that the Trainer leaves to it, None for all: the audit looks at the others too.
    """

    def __init__(
        self, collate: Callable[[Sequence[Any]], Any], columns: Collection[str] | None
    ) -> None:
        self.collate, self.columns, self.calls = collate, columns, list[list[Any]]()

    def __call__(self, features: Sequence[Any]) -> Any:
        self.calls.append([copied(feature) for feature in features])
        if self.columns is not None:
            features = [
                {n: v for n, v in row.items() if n in self.columns}
                if isinstance(row, Mapping)
                else row
                for row in features
            ]
        return self.collate(features)

    def rows_of(self, number: int) -> list[Any]:
        """The rows of a batch; none where a loader makes batches without the collator."""
        return self.calls[number] if number < len(self.calls) else []


@contextlib.contextmanager
def _watched(trainer: Any) -> Iterator[_Seen]:
    """The Trainer's collator watched; its unused columns are taken away behind the watch."""

    def kept(given: Any, description: str | None = None) -> Any:
        return given

    columns = None
    if trainer.args.remove_unused_columns:
        trainer._set_signature_columns_if_needed()
        columns = set(trainer._signature_columns)
    seen = _Seen(trainer.data_collator, columns)
    with (
        mock.patch.object(trainer, "data_collator", seen),
        mock.patch.object(trainer, "_remove_unused_columns", kept),
        mock.patch.object(trainer, "_get_collator_with_removed_columns", kept),
    ):
        yield seen


def training_of(opened: OpenTrainer, steps: int, loss_on: str, source: str = "") -> Training:
    """The training with its first batches. source: text of the user's file. Raises BadInput where
    its loader gives none."""
    trainer = opened.trainer
    for callback in list(trainer.callback_handler.callbacks):
        kind = type(callback)
        if kind.__name__ == "DefaultFlowCallback":
            continue
        trainer.remove_callback(callback)
        # The library's own draw bars and write reports; the user's may do anything.
        if not kind.__module__.startswith("transformers."):
            opened.changed.append(f"the callback {kind.__name__} is off")
    batches = _taken(opened, steps) or _batches(trainer, steps)
    core = _compat.core(trainer.accelerator.unwrap_model(trainer.model))
    # An audit infers before it trains.
    _compat.keep_4_bit_trainable(core)
    training = Training(
        trainer=trainer,
        batches=batches,
        processor=_processor(trainer),
        family=_family(core),
        declared=opened.declared,
        loss_on=loss_on or _declared_loss(opened.declared),
        steps=steps,
        quantisations=tuple(opened.quantisations),
        trace=opened.trace,
        source=source,
    )
    for batch in batches:
        if batch.features:
            order = feature_order(training, batch)
            if order != sorted(order):
                batch.features = [batch.features[i] for i in order]
    return training


def _taken(opened: OpenTrainer, steps: int) -> list[Batch]:
    """Those that a loop without Trainer was seen to train on; none where its model was given no
    ids, or of a Trainer."""
    trace = opened.trace
    if trace is None:
        return []
    count = sum(len(step.micros) for step in trace.steps[:steps]) or len(trace.batches)
    batches: list[Batch] = trace.batches[:count]
    return batches if all("input_ids" in batch.inputs for batch in batches) else []


def _batches(trainer: Any, steps: int) -> list[Batch]:
    import torch

    wanted = steps * int(trainer.args.gradient_accumulation_steps)
    device = next(trainer.model.parameters()).device
    batches: list[Batch] = []
    if _is_empty(trainer.train_dataset):
        raise BadInput("The Trainer's dataset is empty: there is no batch to audit.")
    try:
        with _watched(trainer) as seen:
            torch.manual_seed(int(trainer.args.seed))
            for inputs in trainer.get_train_dataloader():
                if "input_ids" not in inputs:
                    names = ", ".join(map(str, inputs))
                    raise BadInput(
                        f"The collator's batches hold {names} and no input_ids; a training whose "
                        "rows are not tokens with what follows them is not audited here."
                    )
                moved = {n: v.to(device) if hasattr(v, "to") else v for n, v in inputs.items()}
                batches.append(Batch(moved, seen.rows_of(len(batches))))
                if len(batches) == wanted:
                    break
    except BadInput:
        raise
    except Exception as error:  # whatever a dataset or a collator throws
        raise_of_the_disk(error)
        failure = failure_of(error)
        raise BadInput(
            f"The Trainer's data loader raises {failure.type}: {failure.message} "
            f"({failure.where}); there is no batch to audit."
        ) from error
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
    try:
        return of(core)
    except BadInput:  # no family here: what needs none is judged all the same
        return None


def _declared_loss(declared: Any) -> str:
    for name, means in _LOSS_SETTINGS:
        if declared.get(name) is True:
            return means
    return ""
