"""Rung 10, what the trainer does of its own: which rows a step takes, how it weights them, where
its gradient begins, and from which norm on it is clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.data.samples import conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._batches import adapted_model, batch
from harness.measuring.probes._logged import Counts, record_shares
from harness.measuring.probes._steps import ROWS, Steps, Tokens, norm, rows_in, train
from harness.measuring.probes.backward import both_ways, relative_gap
from harness.recipe.published import IGNORE_INDEX
from harness.records.context import Context
from harness.records.typed import Json

METRICS = ("own_threshold", "row_order", "rows_of_steps", "step_gap", "batch_gap")
# Far above any threshold that anybody sets; a power of two, so that nothing is rounded.
AMPLIFIED = 2.0**30
# Micro-batches of two, two and one row, two of them a step: the last is left over in each epoch.
LEFT_OVER = 5
MICRO = 2
ACCUMULATION = 2
EPOCHS = 2
LOOSE = 1e9  # a clipping threshold that never clips, so that the gradient is seen as it is

Gradients = dict[str, Any]
# Of a row by itself: the number of its targets, and the gradient of their mean loss.
Row = tuple[int, Gradients]


def record_threshold(recorder: Recorder, context: Context) -> Steps:
    """The norm that is left of a gradient far above every threshold. Returns the training's steps:
    the first at a rate of nothing, by the recipe's warm-up, the second at the whole rate."""
    seen = train(
        context,
        "amplified",
        micro=1,
        accumulation=1,
        steps=2,
        size=1,
        amplified=AMPLIFIED,
        lr_scheduler_type="linear",
    )
    recorder.add("own_threshold", norm(seen.gradients[0]))
    return seen


def record_order(recorder: Recorder, context: Context, steps: Steps) -> None:
    """Which of the data's rows the model was given, epoch by epoch, by their number.

    steps: of a training of whole epochs of ROWS.
    """
    each = [rows_in(inputs)[0] for inputs in single_batches(context, ROWS)]
    taken = [row for batches in steps.rows for rows in batches for row in rows]
    numbers = [each.index(row) if row in each else -1 for row in taken]
    for epoch in range(len(numbers) // ROWS):
        order: list[Json] = [*numbers[epoch * ROWS : (epoch + 1) * ROWS]]
        recorder.add("row_order", order, case=f"epoch_{epoch}", unit="rows")


def single_batches(context: Context, size: int) -> list[dict[str, Any]]:
    """Each of the first rows collated by itself."""
    return [batch(context, "right", [c]) for c in conversations(context, context.recipe, size)]


def record_epochs(recorder: Recorder, context: Context) -> None:
    """Epochs whose rows no whole number of steps takes: at a learning rate of nothing, so that the
    gradient of each row is the same at every step."""
    seen = train(
        context,
        "epochs",
        micro=MICRO,
        accumulation=ACCUMULATION,
        clip=LOOSE,
        size=LEFT_OVER,
        keep=True,
        learning_rate=0.0,
        num_train_epochs=EPOCHS,
    )
    changed, _ = recorder.attempt("batch_gap", lambda: changed_tensors(context, seen))
    if changed is not None:
        recorder.add("batch_gap", changed, unit="tensors", note=NOTES["batch_gap"])
    taken: list[Json] = [sum(map(len, batches)) for batches in seen.rows]
    recorder.add("rows_of_steps", taken, unit="rows")
    model = adapted_model(context)
    by_row: dict[Tokens, Row] = {}
    counts: dict[Tokens, Counts] = {}
    for inputs in single_batches(context, LEFT_OVER):
        targets = int((inputs["labels"][:, 1:] != IGNORE_INDEX).sum())
        logits, gradients = both_ways(model, inputs)
        by_row[rows_in(inputs)[0]] = targets, {n: g.cpu() for n, g in gradients.items()}
        counts[rows_in(inputs)[0]] = counted(logits.double(), inputs)
    record_shares(recorder, seen, counts)
    gaps = [
        mean_gap(used, [[by_row[row] for row in rows] for rows in batches])
        for used, batches in zip(seen.gradients, seen.rows, strict=True)
    ]
    whole = [len(batches) == ACCUMULATION for batches in seen.rows]
    named = {
        "first": gaps[:1],
        "later": [gap for gap, is_whole in zip(gaps[1:], whole[1:], strict=True) if is_whole],
        "shorter": [gap for gap, is_whole in zip(gaps, whole, strict=True) if not is_whole],
    }
    for case, some in named.items():
        # A step that is not taken is a gradient of nothing.
        recorder.add("step_gap", max(some, default=1.0), case=case, note=NOTES[case])


def counted(logits: Any, inputs: dict[str, Any]) -> Counts:
    """Of a row by itself. logits: float64 (1, sequence, vocabulary), what the model gave for it."""
    targets = inputs["labels"][:, 1:]
    asked = targets != IGNORE_INDEX
    shares = logits.log_softmax(dim=-1)
    entropies = -(shares.exp() * shares).sum(dim=-1)
    right = (logits[:, :-1].argmax(dim=-1) == targets) & asked
    return Counts(
        targets=int(asked.sum()),
        right=int(right.sum()),
        entropy=float(entropies[:, :-1][asked].sum()),
        tokens=int(inputs["attention_mask"].sum()),
        entropy_of_tokens=float(entropies[inputs["attention_mask"].bool()].sum()),
    )


def changed_tensors(context: Context, steps: Steps) -> list[Json]:
    """Names of the collator's tensors that reached the model otherwise in some micro-batch, or not
    at all. Raises ValueError for a row that is not one of the data's."""
    import torch

    chosen = conversations(context, context.recipe, LEFT_OVER)
    numbers = {rows_in(each)[0]: i for i, each in enumerate(single_batches(context, LEFT_OVER))}
    changed: set[str] = set()
    for given in steps.batches:
        rows = rows_in(given)
        strange = [row for row in rows if row not in numbers]
        if strange:
            raise ValueError(f"The model was given a row of {len(strange[0])} tokens of no sample.")
        expected = batch(context, "right", [chosen[numbers[row]] for row in rows])
        for name, tensor in expected.items():
            if name not in given or not torch.equal(tensor.cpu(), given[name]):
                changed.add(name)
    return [*sorted(changed)]


NOTES = {
    "batch_gap": "what the collator made of the same rows that the model was given otherwise",
    "first": "gradient of the first step against the mean over its own rows, relative",
    "later": "the same of later steps of as many micro-batches: each begins at nothing",
    "shorter": "the same of steps of what is left over at an epoch's end; 1 where none is taken",
}


def mean_gap(used: Gradients, batches: Sequence[Sequence[Row]]) -> float:
    """Relative distance of a step's gradient from the mean of its rows' gradients: over all their
    targets, or of the micro-batches' own means, whichever is nearer. Which, accumulation_gap says.
    """
    rows = [row for batch in batches for row in batch]
    total = sum(targets for targets, _ in rows)
    by_token = [targets / total for targets, _ in rows]
    by_batch = [
        targets / sum(each for each, _ in batch) / len(batches)
        for batch in batches
        for targets, _ in batch
    ]
    return min(relative_gap(weighted(rows, shares), used) for shares in (by_token, by_batch))


def weighted(rows: Sequence[Row], shares: Sequence[float]) -> Gradients:
    """Sum of the rows' gradients, each times its share; float64."""
    parts = list(zip(shares, rows, strict=True))
    return {
        name: sum(share * gradients[name].double() for share, (_, gradients) in parts)
        for name in rows[0][1]
    }
