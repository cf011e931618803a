"""Batches of preference pairs and trainings without labels: what is judged of them and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.measuring.audit.preferring import are_pairs, completed, for_the_model, labels_of
from harness.records.record import Status
from suites.audits import audited, red
from suites.small_trainings import OTHER_ROWS, SMALL

# Two pairs' chosen rows, then their rejected ones; 9 pads. The mask says which tokens are scored.
IDS = torch.tensor([[1, 2, 3, 4], [1, 5, 6, 9], [1, 2, 7, 9], [1, 5, 8, 4]])
SCORED = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
PAIRS = {"input_ids": IDS, "completion_mask": SCORED, "ref_chosen_logps": torch.zeros(2)}


def test_what_is_scored_stands_for_labels() -> None:
    assert are_pairs(PAIRS)
    assert labels_of(PAIRS).tolist() == [
        [-100, -100, 3, 4],
        [-100, -100, 6, -100],
        [-100, -100, 7, -100],
        [-100, -100, 8, 4],
    ]
    assert set(for_the_model(PAIRS)) == {"input_ids"}


def test_labels_are_labels_beside_a_mask() -> None:
    """Rows with labels are no pairs, whatever else the batch holds."""
    labelled = {**PAIRS, "labels": torch.full_like(IDS, -100)}
    assert not are_pairs(labelled)
    assert bool((labels_of(labelled) == -100).all())
    assert labels_of({"input_ids": IDS}) is None


def test_rows_of_pairs() -> None:
    """The chosen answers' rows come first, then the rejected ones', each with its prompt."""
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"chosen": "c", "rejected": "d"}]
    assert completed(rows) == [
        {"prompt": "p", "completion": "a"},
        {"completion": "c"},
        {"prompt": "p", "completion": "b"},
        {"completion": "d"},
    ]


@pytest.mark.parametrize("own", [False, True])
def test_batches_without_labels(own: bool, tmp_path: Path) -> None:
    """Of transformers' own loss that is a finding; a loss of one's own may learn from others."""
    text = f"""{SMALL}{OTHER_ROWS}
rows = [{{"input_ids": row["input_ids"]}} for row in rows]


class Own(Trainer):
    {"def compute_loss" if own else "def another_loss"}(self, model, inputs, **rest):
        return model(**inputs, labels=inputs["input_ids"])["loss"]


def make_trainer():
    arguments = TrainingArguments(output_dir="mine", use_cpu=True)
    return Own(model=Small(Config()), args=arguments, train_dataset=rows)
"""
    path = tmp_path / "train.py"
    path.write_text(text, "utf-8")
    document, judgement = audited(path, tmp_path / "out", ["labels"])
    assert red(judgement) == ([] if own else ["labels.there"])
    (there,) = [check for check in document.checks if check.name == "there"]
    assert (there.status is Status.NOT_RUN) == own
