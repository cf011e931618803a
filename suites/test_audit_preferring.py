"""Batches of preference pairs and trainings without labels: what is judged of them and what not."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks._invariant import invariances
from harness.measuring.audit.checks._pairs import answers_of_pairs
from harness.measuring.audit.checks._preference import preference_loss
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.losses_of_pairs import LOSSES, Ratios, Strength, loss_of_pairs
from harness.measuring.audit.opening import open_training
from harness.measuring.audit.preferring import are_pairs, completed, for_the_model, labels_of
from harness.measuring.audit.rows import Row
from harness.measuring.audit.scoring import score
from harness.measuring.audit.training import Batch, Training
from harness.measuring.snapshots.source import STAND_IN
from harness.records.audit import Check
from harness.records.record import Status
from suites.audits import TRAININGS, audited, lacks, red
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


def taken_apart(texts: list[str], answers: list[tuple[str, str]]) -> dict[str, Check]:
    """What is said of rows with these answers, chosen ones first, of pairs that should have those;
    a token is a letter, and what stands behind `:` is scored."""
    rows: list[Row] = []
    width = max(map(len, texts))
    ids = torch.tensor([[*map(ord, text.ljust(width))] for text in texts])
    batch = Batch({"input_ids": ids, "completion_mask": torch.ones_like(ids)})
    kept = [own for own, _ in answers] + [other for _, other in answers]
    for index, text in enumerate(texts):
        labels = [-100 if i <= text.index(":") else ord(c) for i, c in enumerate(text)]
        feature = {"prompt": "p", "completion": kept[index]}
        rows.append(Row(index, batch, index, feature, [*map(ord, text)], labels, [*text], []))
    audited: Any = SimpleNamespace(batches=[batch], memo={"rows": rows})
    findings = Findings("text")
    answers_of_pairs(audited, findings)
    return {check.name: check for check in findings.finish(0.0).checks}


def test_chosen_and_rejected_are_judged_as_two_rows() -> None:
    """Exchanged in one pair of two; alike in one; a rejected answer that holds the chosen one."""
    answers = [("yes", "no"), ("yes", "yes and no")]
    right = taken_apart(["p:yes", "p:yes", "p:no", "p:yes and no"], answers)
    assert [right[name].value for name in ("answers_exchanged", "answers_alike")] == [0, 0]
    wrong = taken_apart(["p:no", "p:yes", "p:yes", "p:yes"], answers)
    assert wrong["answers_exchanged"].value == 3
    assert wrong["answers_exchanged"].evidence[:2] == (
        "row 0 (chosen of pair 0)",
        "row 2 (rejected of pair 0)",
    )
    assert wrong["answers_alike"].value == 1
    unknown = taken_apart(["p:no", "p:yes"], [("", "")])
    assert unknown["answers_exchanged"].status is Status.NOT_RUN


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Two pairs: what the answers gained, their tokens; β = 0.5, and ε = 0.1 where pairs may be flipped.
GAINED = [(0.8, -0.4, 4.0, 2.0), (-0.2, 0.6, 3.0, 5.0)]
BETA, FLIPPED, NLL = 0.5, 0.1, 1.7


def _by_hand(kind: str, chosen: float, rejected: float, many: float, other: float) -> float:
    """One pair's, in plain numbers, spelled otherwise than in the code."""
    margin, even = BETA * (chosen - rejected), chosen / many - rejected / other
    better, worse = logistic(margin), logistic(-margin)
    noisy = 1 - FLIPPED
    formulas = {
        "sigmoid": math.log(1 + math.exp(-margin)),
        "sigmoid_norm": math.log(1 + math.exp(-BETA * even)),
        "hinge": max(0.0, 1 - margin),
        "ipo": even**2 - even / BETA + 1 / (4 * BETA**2),
        "robust": (FLIPPED * math.log(worse) - noisy * math.log(better)) / (noisy - FLIPPED),
        "exo_pair": better * math.log(better / noisy) + worse * math.log(worse / FLIPPED),
        "nca_pair": math.log(1 + math.exp(-BETA * chosen))
        + math.log(1 + math.exp(BETA * chosen)) / 2
        + math.log(1 + math.exp(BETA * rejected)) / 2,
        "sppo_hard": (chosen - 1) ** 2 + (rejected + 1) ** 2,
        "apo_zero": logistic(-BETA * chosen) + logistic(BETA * rejected),
        "apo_down": logistic(BETA * chosen) + worse,
        "sft": NLL,
    }
    return formulas[kind]


def ratios() -> Ratios:
    columns = torch.tensor(GAINED, dtype=torch.float64).T
    return Ratios(*columns, torch.tensor(NLL, dtype=torch.float64))


@pytest.mark.parametrize("kind", sorted(set(LOSSES) - {"aot_unpaired"}))
def test_losses_of_pairs_by_hand(kind: str) -> None:
    wanted = sum(_by_hand(kind, *pair) for pair in GAINED) / len(GAINED)
    given = loss_of_pairs(ratios(), Strength(BETA, FLIPPED), {kind: 1.0})
    assert given == pytest.approx(wanted, abs=1e-12)


def test_sorted_and_several_losses_by_hand() -> None:
    """Sorted, the lower chosen gain (-0.2) meets the lower rejected one (-0.4), 0.8 meets 0.6."""
    margin = BETA * 0.2
    wanted = -(1 - FLIPPED) * math.log(logistic(margin)) - FLIPPED * math.log(logistic(-margin))
    by = Strength(BETA, FLIPPED)
    assert loss_of_pairs(ratios(), by, {"aot_unpaired": 1.0}) == pytest.approx(wanted, abs=1e-12)
    both = {"sft": 2.0, "hinge": 0.5}
    hinges = sum(_by_hand("hinge", *pair) for pair in GAINED) / 2
    assert loss_of_pairs(ratios(), by, both) == pytest.approx(2 * NLL + 0.5 * hinges)


@pytest.fixture(scope="module")
def preferring() -> Iterator[Training]:
    """TRL's DPO, opened once."""
    path = TRAININGS / "dpo_pictures.py"
    lack = lacks(path.read_text("utf-8"))
    if lack:
        pytest.skip(f"NOT_RUN: dpo_pictures {lack}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}),
    ):
        yield training_of(open_training(path, "", Path(scratch)), 1, "")


def declared(training: Training, kinds: dict[str, float], smoothing: float) -> Check:
    """What is said of the Trainer's loss where its arguments declare these."""
    trainer, names = training.trainer, [*kinds]
    weights = [*kinds.values()]
    with (
        mock.patch.object(trainer.args, "loss_type", names),
        mock.patch.object(trainer.args, "loss_weights", weights),
        mock.patch.object(trainer.args, "label_smoothing", smoothing),
        mock.patch.object(trainer, "loss_types", names),
        mock.patch.object(trainer, "loss_weights", weights),
        mock.patch.object(trainer, "label_smoothing", smoothing),
    ):
        findings = Findings("forward")
        preference_loss(training, findings, training.batches[0])
    (check,) = findings.finish(0.0).checks
    return check


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_trls_losses_are_their_papers(kind: str, preferring: Training) -> None:
    smoothing = FLIPPED if kind in {"robust", "exo_pair", "aot_unpaired"} else 0.0
    check = declared(preferring, {kind: 0.7}, smoothing)
    assert check.status is Status.OK
    assert check.value == pytest.approx(check.truth, abs=check.tolerance)
    assert check.tolerance < 1e-3 * max(1.0, abs(float(check.truth)))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "smoothing"), [("bco_pair", 0.0), ("sigmoid", 0.1)])
def test_what_is_not_judged_of_pairs_is_said(
    kind: str, smoothing: float, preferring: Training
) -> None:
    check = declared(preferring, {kind: 1.0}, smoothing)
    assert check.status is Status.NOT_RUN
    assert kind in check.reason


def alone_and_turned(training: Training) -> dict[str, tuple[float, float]]:
    """(largest change of a target's loss, what rounding may change) where each pair is a batch of
    its own, and where pairs stand in reverse."""
    batch = training.batches[0]
    findings = Findings("forward")
    with training.restored():
        invariances(training, findings, batch, score(training, batch.inputs))
    checks = {check.name: check for check in findings.finish(0.0).checks}
    named = (checks["batch_mates"], checks["row_order"])
    assert [check.reason for check in named] == ["", ""]
    return {c.name: (float(str(c.value)), c.tolerance) for c in named}


@pytest.mark.slow
def test_pairs_alone_and_in_another_order_have_the_same_losses(preferring: Training) -> None:
    for change, limit in alone_and_turned(preferring).values():
        assert change <= limit < 0.1

    def by_place(module: Any, args: Any, out: Any) -> Any:
        """What a row gives depends on where it stands."""
        rows = torch.arange(len(out.logits), device=out.logits.device)
        out.logits = out.logits * (1 + 0.5 * rows)[:, None, None]
        return out

    handle = preferring.core.register_forward_hook(by_place)
    try:
        for change, limit in alone_and_turned(preferring).values():
            assert change > 2 * limit
    finally:
        handle.remove()
