"""Batches of preference pairs, as TRL's DPO has them: the chosen answers' rows, then the rejected
ones', with a mask of what is scored and without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

IGNORED = -100
# Which tokens of a row its log-probability is summed over.
SCORED = "completion_mask"
# What a batch holds beside what a model's forward is given.
_BESIDE = frozenset({"labels", SCORED, "ref_chosen_logps", "ref_rejected_logps"})
ANSWERS = ("chosen", "rejected")


def are_pairs(inputs: Mapping[str, Any]) -> bool:
    """Whether a batch holds pairs of answers and no labels."""
    return inputs.get("labels") is None and inputs.get(SCORED) is not None


def labels_of(inputs: Mapping[str, Any]) -> Any:
    """int64 (rows, tokens), -100 where nothing is trained; of pairs the tokens that are scored.
    None without either."""
    if are_pairs(inputs):
        return inputs["input_ids"].masked_fill(inputs[SCORED] == 0, IGNORED)
    return inputs.get("labels")


def for_the_model(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What of a batch a model's forward is given, labels left out."""
    return {name: value for name, value in inputs.items() if name not in _BESIDE}


def completed(features: Sequence[Any]) -> list[Any]:
    """The dataset's rows as the batch has them: each with its chosen answer for its completion,
    then each with its rejected one."""
    return [
        {
            **{name: value for name, value in row.items() if name not in ANSWERS},
            "completion": row.get(answer),
        }
        if isinstance(row, Mapping)
        else row
        for answer in ANSWERS
        for row in features
    ]
