"""What an audit says of model, inputs, forward and backward, against other computations of it."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks import checker
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.opening import open_training
from harness.measuring.audit.rounding import noise
from harness.measuring.audit.rows import feature_order
from harness.measuring.audit.scoring import score, stir
from harness.measuring.audit.training import Batch, Training
from harness.measuring.models._mrope import row_positions
from harness.measuring.snapshots.source import STAND_IN
from harness.records.audit import Check
from harness.records.record import Status
from suites.audits import TRAININGS, lacks
from suites.oracles import mrope


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """The plain training, opened once; checks restore what they change."""
    path = TRAININGS / "plain_trainer.py"
    lack = lacks(path.read_text("utf-8"))
    if lack:
        pytest.skip(f"NOT_RUN: {lack}")
    scratch: Path = tmp_path_factory.mktemp("scratch")
    with mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}):
        yield training_of(open_training(path, "", scratch), 2, "")


def measured(training: Training, rung: str) -> tuple[dict[str, Check], Findings]:
    """A rung's checks by name."""
    findings = Findings(rung)
    measure = checker(rung)
    assert measure is not None
    measure.checks(training, findings)
    return {check.name: check for check in findings.finish(0.0).checks}, findings


def test_positions_are_the_oracles() -> None:
    """Two writings of the definition agree: a row with two pictures, the second two frames deep."""
    ids = [5, *[9] * 6, 7, 8, *[9] * 8, 3]
    grids = [(1, 2, 3), (2, 2, 2)]
    assert row_positions(ids, 9, iter(grids)) == [*mrope.positions(ids, 9, grids)]


def test_components_by_hand(training: Training) -> None:
    """Elements and adapters of the stand-in, from its config's numbers."""
    _, findings = measured(training, "model")
    # Of its own since transformers 4.52.
    config = training.core.config.get_text_config()
    rows = {row.component: row for row in findings.components}
    width, kv = config.hidden_size, config.num_key_value_heads
    head = width // config.num_attention_heads
    layers = config.num_hidden_layers
    # r·(in + out) of q_proj and v_proj, r 8.
    adapters = layers * 8 * ((width + width) + (width + kv * head))
    assert rows["language"].trainable == adapters
    assert rows["language"].linears == 7 * layers
    assert rows["language"].adapted == 2 * layers
    assert rows["embed_tokens"].parameters == config.vocab_size * width
    assert rows["embed_tokens"].bytes == 4 * config.vocab_size * width
    assert sum(row.parameters for row in rows.values()) == sum(
        p.numel() for p in training.core.parameters()
    )


def test_loss_by_numpy(training: Training) -> None:
    """The truth of the loss, from logits by numpy, target by target."""
    import torch

    batch = training.batches[0]
    with training.restored(), torch.no_grad():
        scored = score(training, batch.inputs)
        given = {n: v for n, v in batch.inputs.items() if n != "labels"}
        logits = training.model(**given).logits.cpu().numpy().astype(np.float64)
    losses = []
    for row, labels in enumerate(batch.labels.tolist()):
        for place in range(1, len(labels)):
            if labels[place] != -100:
                before = logits[row, place - 1]
                losses.append(np.log(np.exp(before).sum()) - before[labels[place]])
    assert np.allclose(scored.losses.cpu().numpy(), losses, rtol=0, atol=1e-12)


def test_attention_is_closed_by_hand(training: Training) -> None:
    """Padding of the batch at hand is on the left and masked: counted here, none is open."""
    checks, _ = measured(training, "inputs")
    mask = training.batches[0].mask
    assert int((mask == 0).sum()) > 0
    assert checks["padding_unmasked"].value == 0
    assert checks["padding_attended"].value == 0
    assert checks["tower_rows"].value == int(
        training.batches[0].inputs["image_grid_thw"].prod(1).sum() // 4
    )


def test_gradients_by_hand(training: Training) -> None:
    """B's gradient alone is there while B is zero; both once it is not; and all is undone."""
    before = {n: p.detach().clone() for n, p in training.model.named_parameters()}
    adapters = {n: p for n, p in training.model.named_parameters() if p.requires_grad}
    with training.restored(train=True):
        training.loss(training.batches[0].inputs).backward()
        assert not any(bool(p.grad.any()) for n, p in adapters.items() if "lora_A" in n)
        assert all(bool(p.grad.any()) for n, p in adapters.items() if "lora_B" in n)
    with training.restored(train=True):
        stir(training)
        training.loss(training.batches[0].inputs).backward()
        assert all(bool(p.grad.any()) for p in adapters.values())
    checks, _ = measured(training, "backward")
    assert checks["without_gradient"].value == 0
    assert all(bool((p == before[n]).all()) for n, p in training.model.named_parameters())
    assert all(p.grad is None for p in training.model.parameters())


def test_a_collator_that_draws_is_never_steady(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that draws and happens to make the same of its rows is not asked about their order."""
    whole, rng = training.trainer.data_collator, random.Random(7)

    def draws(rows: list[Any]) -> Any:
        rng.random()
        return whole(rows)

    checks, _ = measured(training, "forward")
    assert checks["row_order"].status is not Status.NOT_RUN
    monkeypatch.setattr(training.trainer, "data_collator", draws)
    checks, _ = measured(training, "forward")
    for name in ("row_order", "batch_mates"):
        assert checks[name].status is Status.NOT_RUN
        assert "each time" in checks[name].reason


@pytest.mark.parametrize("steeper", [1, 3, 10, 30])
def test_what_two_kernels_of_attention_differ_by_is_noise(training: Training, steeper: int) -> None:
    """However steep the attention: at 30 times the scores the logits alone allow half of it."""
    inputs = training.batches[0].inputs
    weights = [p for n, p in training.core.named_parameters() if "q_proj.base_layer.weight" in n]
    assert weights
    with training.restored():
        stir(training)
        before = [weight.detach().clone() for weight in weights]
        try:
            with torch.no_grad():
                for weight in weights:
                    weight.mul_(steeper)
            drawn = torch.get_rng_state()
            one = score(training, inputs)
            limit = noise(training, inputs, one)
            assert torch.equal(torch.get_rng_state(), drawn)
            assert torch.equal(score(training, inputs).losses, one.losses)
            with sdpa_kernel(SDPBackend.MATH):
                gap = float((score(training, inputs).losses - one.losses).abs().max())
        finally:
            with torch.no_grad():
                for weight, was in zip(weights, before, strict=True):
                    weight.copy_(was)
    assert 0 < gap <= limit < 0.01


@pytest.mark.parametrize("every", [2, 3, 5, 8])
def test_a_collator_that_changes_now_and_then_is_never_steady(
    training: Training, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """One that draws by a clock makes the same of its rows several times, then something else."""
    whole, calls = training.trainer.data_collator, itertools.count(1)

    def draws(rows: list[Any]) -> Any:
        other = "?" if next(calls) % every == 0 else ""
        return whole([{**row, "question": row["question"] + other} for row in rows])

    monkeypatch.setattr(training.trainer, "data_collator", draws)
    checks, _ = measured(training, "forward")
    for name in ("row_order", "batch_mates"):
        assert checks[name].status is Status.NOT_RUN
        assert "each time" in checks[name].reason


def test_a_collator_may_put_rows_into_an_order_of_its_own(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted by their answers, texts and pictures together: rows are told by their texts."""
    whole = training.trainer.data_collator

    def ordered(rows: list[Any]) -> Any:
        return whole(sorted(rows, key=lambda row: str(row["answer"])))

    batch = training.batches[0]
    device = batch.ids.device
    answers = [str(row["answer"]) for row in batch.features]
    features = sorted(batch.features, key=lambda row: str(row["answer"]), reverse=True)
    turned = Batch(batch.inputs, features)
    order = feature_order(training, turned)
    assert [features[i]["answer"] for i in order] == answers
    monkeypatch.setattr(training.trainer, "data_collator", ordered)
    inputs = {name: value.to(device) for name, value in ordered(batch.features).items()}
    sorted_batch = Batch(inputs, sorted(batch.features, key=lambda r: r["answer"]))
    monkeypatch.setattr(training, "batches", [sorted_batch])
    monkeypatch.setattr(training, "memo", {})
    checks, _ = measured(training, "forward")
    assert float(str(checks["row_order"].value)) < 1e-4
