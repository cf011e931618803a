"""The order in which rows come: each once an epoch, shuffled as declared, anew in every epoch."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from harness.measuring.audit.contents import pictures_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.settings import declared
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation

# Of fewer rows a shuffle gives the file's order too often: 8! is 40320.
_FEWEST = 8


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    data = training.trainer.train_dataset
    rows = len(data) if hasattr(data, "__len__") else 0
    loader = findings.attempt("order", training.trainer.get_train_dataloader)
    repeated = loader is not None and _is_weighted(loader)
    if not repeated:
        _contents(training, findings)
    if loader is None:
        return
    if not rows or getattr(loader, "batch_sampler", None) is None:
        findings.not_run("order", "The dataset has no length, so that no order can be told.")
        return
    epochs = findings.attempt("order", lambda: [_epoch(training, number) for number in (0, 1)])
    if epochs is None:
        return
    first, second = epochs
    findings.put(
        "rows_by_weight" if repeated else "rows_repeated",
        len(first) - len(set(first)),
        0,
        unit="rows",
        evidence=[f"row {row}" for row in _twice(first)],
        setting="_get_train_sampler",
    )
    if not repeated:
        _unseen(training, findings, loader, rows, first)
    if rows < _FEWEST:
        findings.not_run("shuffled", f"{rows} rows are too few to tell an order from chance.")
        return
    _shuffled(training, findings, first, second)


def _is_weighted(loader: Any) -> bool:
    """Whether a sampler with weights of its own draws the rows: then some come more often."""
    sampler = getattr(loader, "batch_sampler", None)
    while sampler is not None:
        if hasattr(sampler, "weights"):
            return True
        sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)
    return False


def _unseen(
    training: Training, findings: Findings, loader: Any, rows: int, first: list[int]
) -> None:
    """Every row comes in an epoch, those of a dropped last batch apart."""
    size = int(getattr(loader.batch_sampler, "batch_size", 0) or training.args.train_batch_size)
    dropped = rows % size if getattr(loader.batch_sampler, "drop_last", False) else 0
    findings.put(
        "rows_unseen",
        rows - len(set(first)),
        dropped,
        relation=Relation.AT_MOST,
        unit="rows",
        setting="_get_train_sampler",
    )


def _shuffled(training: Training, findings: Findings, first: list[int], second: list[int]) -> None:
    is_shuffled = first != sorted(first)
    if training.trace is not None:
        findings.put("shuffled_unsaid", is_shuffled, True, setting="shuffle")
    else:
        kind = str(declared(training, "train_sampling_strategy", "random"))
        findings.put(
            "shuffled",
            is_shuffled,
            kind != "sequential",
            basis=Basis.DECLARED,
            evidence=[f"the first rows are {', '.join(map(str, first[:8]))}"],
            setting="get_train_dataloader",
        )
    if is_shuffled:
        findings.put("reshuffled", first != second, True, setting="get_train_dataloader")


def _epoch(training: Training, number: int) -> list[int]:
    """The row numbers of an epoch in their order, none of them collated."""
    with isolated(training):
        loader: Any = training.trainer.get_train_dataloader()
        orders: list[int] = []
        for epoch in range(number + 1):
            if hasattr(loader, "set_epoch"):
                loader.set_epoch(epoch)
            orders = [int(row) for rows in loader.batch_sampler for row in rows]
        return orders


def _twice(rows: list[int]) -> list[int]:
    return sorted(row for row, times in Counter(rows).items() if times > 1)


def _contents(training: Training, findings: Findings) -> None:
    """Rows that look at other data are other rows: half of them at least. Data sets do repeat
    themselves here and there; a broken one gives one row for all numbers."""
    digests = []
    for batch in training.batches:
        for row in range(len(batch.ids)):
            digest = hashlib.sha256(str(training.row_ids(batch, row)).encode())
            pictures = pictures_of(batch.features[row]) if row < len(batch.features) else []
            for picture in pictures:
                digest.update(f"{picture.size} {picture.mode}".encode() + picture.tobytes())
            digests.append(digest.hexdigest())
    findings.put(
        "distinct_rows",
        len(set(digests)) / len(digests),
        0.5,
        relation=Relation.AT_LEAST,
        unit="share",
        evidence=[f"{len(set(digests))} of {len(digests)} rows differ"],
        setting="train_dataset",
    )
