"""Rungs 5, 8, 9 and 10: what the trainer makes of one batch, before it has trained a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.data.samples import conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._batches import SIDES, SIZE, adapted_model, batch, forward
from harness.measuring.snapshots import loading
from harness.measuring.training.trainer import build_trainer
from harness.records.context import Context

LOSS_GAP = "trainer_loss_gap"


def trainer_over(context: Context, model: Any, side: str = "right") -> Any:
    """The recipe's trainer over the fixed rows, all in one micro-batch. side: its processor's.

    On a GPU without the recipe's autocast and TF32, which its arguments would set for the process:
    these rungs compare float32. And never there as one of a CPU, which a process may stay.
    """
    on_cuda = context.device.startswith("cuda")
    exact: dict[str, Any] = {"bf16": False, "tf32": False, "use_cpu": False} if on_cuda else {}
    return build_trainer(
        model,
        loading.load_processor(context.snapshot, padding_side=side),
        conversations(context, context.recipe, SIZE),
        context.recipe,
        context.work("trainer"),
        micro_batch=SIZE,
        accumulation=1,
        seed=context.seed,
        report_to="none",
        wrap=False,
        gradient_checkpointing=False,
        **exact,
    ).trainer


def first_batch(trainer: Any) -> dict[str, Any]:
    """What the model would be given first."""
    given: Mapping[str, Any] = next(iter(trainer.get_train_dataloader()))
    return dict(given)


def record_labels(recorder: Recorder, context: Context) -> None:
    """Rung 5: labels that the trainer's own batch has otherwise than the collator's; padding apart,
    for on which side that is rung 10 asks. The model holds no number: nobody asks it for one."""
    counted, _ = recorder.attempt("trainer_labels_off", lambda: _labels_off(context))
    if counted is not None:
        recorder.add("trainer_labels_off", counted, unit="tokens")


def _labels_off(context: Context) -> int:
    model = loading.meta_model(context.snapshot)
    # A trainer moves its model to its device, for which there is nothing here.
    model.to = lambda *_, **__: model
    given = by_row(first_batch(trainer_over(context, model)))
    asked = by_row(batch(context, "right"))
    if given.keys() != asked.keys():
        raise ValueError("The trainer's first batch does not hold the rows that it was given.")
    pairs = [pair for row in asked for pair in zip(given[row], asked[row], strict=True)]
    return sum(one != other for one, other in pairs)


def by_row(inputs: Mapping[str, Any]) -> dict[tuple[int, ...], list[int]]:
    """The labels of a batch's rows by their ids, both without padding."""
    rows = zip(inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool(), strict=True)
    return {(*ids[kept].tolist(),): labels[kept].tolist() for ids, labels, kept in rows}


def record_loss_gap(recorder: Recorder, context: Context) -> None:
    """Rung 8: the loss that the trainer computes against the model's own, which another metric
    holds against its definition. A stack without a trainer loses this value alone."""
    gaps, _ = recorder.attempt(LOSS_GAP, lambda: _loss_gaps(context))
    for side, gap in (gaps or {}).items():
        recorder.add(LOSS_GAP, gap, case=side)


def _loss_gaps(context: Context) -> dict[str, float]:
    """By side."""
    import torch

    model = adapted_model(context).train()
    with torch.no_grad():
        # Asked before a trainer has the model: some change its forward pass.
        plain = {side: float(forward(model, batch(context, side)).loss) for side in SIDES}
        trainer = trainer_over(context, model)
        return {
            side: abs(float(trainer.compute_loss(model, batch(context, side))) - loss)
            for side, loss in plain.items()
        }


def record_side(recorder: Recorder, context: Context, model: Any) -> None:
    """Rung 10: rows of the trainer's first batch that are padded on the right, where its processor
    is to pad on the left."""
    masks = first_batch(trainer_over(context, model, "left"))["attention_mask"]
    recorder.add("padded_right", int((masks[:, -1] == 0).sum()), unit="rows")
