"""The arithmetic of an audit's update and trajectory, each against another way to compute it."""

from __future__ import annotations

import math
import os
import random
import tempfile
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy
import pytest
import torch
from transformers import get_scheduler

from harness.measuring import _compat
from harness.measuring.audit.capture import training_of
from harness.measuring.audit.checks.trajectory import _repeats
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.opening import open_training
from harness.measuring.audit.steps.adamw import excess
from harness.measuring.audit.steps.generators import State, generators_of, is_unseeded, noted
from harness.measuring.audit.steps.running import Asked, run
from harness.measuring.audit.steps.schedule import share, total_steps
from harness.measuring.audit.steps.watching import Run, Step
from harness.measuring.audit.steps.weighting import Weighting, mixed_gap, weighting
from harness.measuring.audit.training import Training
from harness.measuring.instruments.dropout import Dropped, counted
from harness.measuring.snapshots.source import STAND_IN
from harness.records.record import Status
from suites.audits import TRAININGS, lacks

RATE, TOTAL = 3e-4, 40
# Schedules with the settings that need any, as transformers takes them.
SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("linear", {}),
    ("cosine", {}),
    ("cosine", {"num_cycles": 1.5}),
    ("cosine_with_restarts", {"num_cycles": 3}),
    ("cosine_with_min_lr", {"min_lr": 3e-5}),
    ("polynomial", {"power": 2.0}),
    ("inverse_sqrt", {}),
]


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize(("kind", "settings"), SCHEDULES)
def test_schedule(kind: str, settings: dict[str, Any], warmup: int) -> None:
    """The definition gives what the library's scheduler sets, at every step."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = get_scheduler(kind, optimizer, warmup, TOTAL, dict(settings) or None)
    for step in range(TOTAL + 1):
        wanted = share(kind, step, warmup, TOTAL, RATE, settings)
        assert wanted is not None
        assert optimizer.param_groups[0]["lr"] / RATE == pytest.approx(wanted, abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_total_steps() -> None:
    """10 rows by 4 are 3 batches, of which the last has 2 rows; by 2 these make 2 steps an epoch
    where the rest counts, else 1; three and a half epochs of them are 7 or 4."""
    counts = _compat.update_steps(3, 2) == 2
    declared = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 3.5,
        "max_steps": -1,
    }
    assert total_steps(10, declared) == (7 if counts else 4)
    assert total_steps(10, {**declared, "dataloader_drop_last": True}) == 4
    assert total_steps(10, {**declared, "max_steps": 5}) == 5


def _stepped(kind: Any, rates: Sequence[float] = (RATE,) * 3, start: float = 1.0) -> list[Step]:
    """Steps of an optimizer on seeded gradients, of weights of about the size of start."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(start * torch.randn(64))
    optimizer = kind([weight], lr=RATE, weight_decay=0.1)
    steps = []
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.randn(64) * torch.logspace(-12, 2, 64)
        before, groups = weight.detach().clone(), [{**optimizer.param_groups[0]}]
        optimizer.step()
        gradients = {"w": weight.grad.clone()}
        after = {"w": weight.detach().clone()}
        steps.append(Step([], groups, gradients, gradients, 1.0, 1.0, {"w": before}, after))
    return steps


def test_adamw_is_torchs_and_nothing_else() -> None:
    """torch's AdamW is within its rounding over fourteen orders of magnitude; Adam, whose decay
    goes through the moments, is not, nor is a change of a thousandth of the rate."""
    assert excess(_stepped(torch.optim.AdamW), {"w": 0}, ["w"]) <= 1
    assert excess(_stepped(torch.optim.Adam), {"w": 0}, ["w"]) > 100
    changed = _stepped(torch.optim.AdamW)
    for step in changed:
        step.groups[0]["lr"] *= 1.001
    assert excess(changed, {"w": 0}, ["w"]) > 1


class GpusAdamW:
    """The arithmetic of torch's fused kernel for float32 on a GPU, since 2.8 (fused_adam_utils.cuh
    as of pytorch #154069): settings and powers of betas are float32 numbers too."""

    def __init__(self, weights: list[torch.nn.Parameter], lr: float, weight_decay: float) -> None:
        betas, fused = (0.9, 0.999), True
        settings = {"lr": lr, "betas": betas, "eps": 1e-8, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [{**settings, "fused": fused}]
        self.weight, self.taken = weights[0], 0
        self.first, self.second = (numpy.zeros(len(weights[0]), "f4") for _ in range(2))

    def step(self) -> None:
        self.taken += 1
        assert self.weight.grad is not None
        group, one = self.param_groups[0], numpy.float32(1)
        rate, decay, eps = (numpy.float32(group[name]) for name in ("lr", "weight_decay", "eps"))
        beta1, beta2 = (numpy.float32(beta) for beta in group["betas"])
        gradient = self.weight.grad.numpy()
        self.first = beta1 * self.first + (one - beta1) * gradient
        self.second = beta2 * self.second + (one - beta2) * gradient * gradient
        corrections = [one - beta ** numpy.float32(self.taken) for beta in (beta1, beta2)]
        root = numpy.sqrt(self.second) / numpy.sqrt(corrections[1]) + eps
        weight = self.weight.detach().numpy()
        weight -= rate * decay * weight
        weight -= rate / corrections[0] * self.first / root


def test_a_gpus_fused_kernel_is_adamw_within_its_own_rounding() -> None:
    """Of weights that begin at nothing, as an adapter's B, at rates that do: a Trainer's second
    step on an H200 was 2.4 times as far off as a kernel whose powers are float64 numbers. A rate
    that is a thousandth larger is still no AdamW."""
    steps = _stepped(GpusAdamW, (0.0, RATE), start=0.0)
    assert excess(steps, {"w": 0}, ["w"]) > 2
    assert excess(steps, {"w": 0}, ["w"], short_powers=True) <= 1
    for step in steps:
        step.groups[0]["lr"] *= 1.001
    assert excess(steps, {"w": 0}, ["w"], short_powers=True) > 1


def test_adamw_of_one_number() -> None:
    """By hand: w = 1, g = 2, rate 0.1, decay 0.1: the moments' ratio is 1, so that the weight
    falls by 1 % and then by the rate."""
    gradient = {"w": torch.tensor([2.0])}
    groups = [{"lr": 0.1, "betas": (0.9, 0.999), "eps": 0.0, "weight_decay": 0.1}]
    start, end = {"w": torch.tensor([1.0])}, {"w": torch.tensor([0.89])}
    step = Step([], groups, gradient, gradient, 2.0, 2.0, start, end)
    assert excess([step], {"w": 0}, ["w"]) <= 1


def test_dropped_share() -> None:
    """Of a hundred thousand inputs three tenths are dropped in training, none in evaluation."""
    model = torch.nn.Sequential(torch.nn.Dropout(0.3))
    dropped = Dropped()
    with counted(model, dropped):
        model(torch.ones(100_000))
    assert dropped.elements == 100_000
    assert abs(dropped.share - 0.3) <= dropped.tolerance < 0.01
    quiet = Dropped()
    with counted(model.eval(), quiet):
        model(torch.ones(100))
    assert quiet.share == 0
    assert quiet.wanted_share == pytest.approx(0.3)


def test_generators_that_began_without_a_seed() -> None:
    with noted():
        own, seeded = random.Random(), random.Random(3)
    assert is_unseeded(own)
    assert not is_unseeded(seeded)
    assert is_unseeded(numpy.random.default_rng())
    assert not is_unseeded(numpy.random.default_rng(3))
    assert not is_unseeded(torch.Generator())


DRAWS, KIND = random.Random(5), types.FunctionType


def collated(rows: list[Any]) -> list[Any]:
    """A collator that names a generator, and a class whose attributes look like a function's."""
    return [DRAWS.random() for row in rows if not isinstance(row, KIND)]


class OwnTrainer:
    """As far as generators are looked for in one."""

    data_collator = staticmethod(collated)
    train_dataset: list[Any] = []  # noqa: RUF012 - nobody writes to it

    def training_step(self) -> None:
        """Draws nothing."""


def test_generators_are_sought_in_functions_and_not_in_their_classes() -> None:
    audited: Any = SimpleNamespace(trainer=OwnTrainer())
    assert generators_of(audited) == [DRAWS]


@pytest.mark.parametrize(
    "generator",
    [random.Random(1), numpy.random.default_rng(1), numpy.random.RandomState(1), torch.Generator()],
    ids=lambda g: type(g).__name__,
)
def test_a_generator_is_put_back(generator: Any) -> None:
    def draw() -> float:
        if isinstance(generator, torch.Generator):
            return float(torch.rand(1, generator=generator))
        return float(generator.random())

    state = State(generator)
    first = draw()
    assert draw() != first
    state.put_back()
    assert draw() == first


def test_steps_of_an_optimizer_that_holds_nothing_of_the_model_are_not_compared() -> None:
    audited: Any = SimpleNamespace(model=torch.nn.Linear(1, 1))
    findings = Findings("trajectory")
    _repeats(audited, Run(), Run(), findings)
    [weights] = [c for c in findings.finish(0.0).checks if c.name == "weights_repeat"]
    assert weights.status is Status.NOT_RUN


def test_weights_of_micro_batches() -> None:
    """A quarter of one and twice the other is just that, and nothing else."""
    parts = [{"w": torch.tensor([1.0, 0.0, 2.0])}, {"w": torch.tensor([0.0, 3.0, 1.0])}]
    whole = {"w": 0.25 * parts[0]["w"] + 2 * parts[1]["w"]}
    assert mixed_gap(whole, parts, (0.25, 2.0)) == pytest.approx(0, abs=1e-7)
    assert mixed_gap(whole, parts, (0.5, 0.5)) > 0.1


def test_weights_as_tokens_whatever_all_are_multiplied_by() -> None:
    """Micro-batches of 3 and 1 tokens: a sum divided by 2 rows counts them 1.5 and 0.5 times."""
    parts = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([1.0, 3.0])}]

    def weighed(*weights: float) -> Weighting:
        whole = {"w": sum(w * part["w"] for w, part in zip(weights, parts, strict=True))}
        return Weighting(weights, (0.75, 0.25), False, parts, whole)

    assert weighed(1.5, 0.5).by_tokens(1e-6)
    assert weighed(0.75, 0.25).by_tokens(1e-6)
    assert not weighed(0.5, 0.5).by_tokens(1e-6)
    assert not weighed(0.0, 0.0).by_tokens(1e-6)


@pytest.fixture(scope="module")
def training() -> Iterator[Training]:
    """The plain training, opened once."""
    path = TRAININGS / "plain_trainer.py"
    lack = lacks(path.read_text("utf-8"))
    if lack:
        pytest.skip(f"NOT_RUN: plain_trainer {lack}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}),
    ):
        yield training_of(open_training(path, "", Path(scratch)), 1, "")


def _state_of(training: Training) -> Any:
    trainer = training.trainer
    return (
        {n: p.detach().double().sum().item() for n, p in training.model.named_parameters()},
        {n: p.requires_grad for n, p in training.model.named_parameters()},
        {n: p.grad for n, p in training.model.named_parameters() if p.grad is not None},
        {n: sorted(vars(module)) for n, module in training.model.named_modules()},
        {n: len(m._forward_hooks) for n, m in training.model.named_modules()},
        {n: m.training for n, m in training.model.named_modules()},
        {n: id(value) for n, value in vars(trainer).items()},
        {n: str(value) for n, value in vars(trainer.args).items()},
        [type(callback).__name__ for callback in trainer.callback_handler.callbacks],
        random.getstate(),
        str(numpy.random.get_state()),
        torch.get_rng_state().tolist(),
    )


def test_steps_are_undone(training: Training) -> None:
    """After steps were taken nothing of the process, the Trainer or the model tells of them."""
    before = _state_of(training)
    last = run(training, Asked(2)).steps[1]  # the first has no rate yet: it warms up
    assert any(bool((weight != last.after[name]).any()) for name, weight in last.before.items())
    for was, is_now in zip(before, _state_of(training), strict=True):
        assert is_now == was


def test_accumulation_is_one_batch_of_all_rows(training: Training) -> None:
    """Another computation of the truth: the rows of the step collated as one batch, and its
    cross-entropy by log-softmax in float64 over every label together."""
    step = run(training, Asked(1)).steps[0]
    features = [row for batch in training.batches[: len(step.micros)] for row in batch.features]
    device = next(training.model.parameters()).device
    batch = {n: v.to(device) for n, v in training.trainer.data_collator(features).items()}
    labels = batch["labels"][:, 1:]
    with training.restored():
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = training.model(**inputs).logits[:, :-1].double()
        asked = labels != -100
        chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        (-(chosen * asked).sum() / asked.sum()).backward()
        off = size = 0.0
        for name, parameter in training.model.named_parameters():
            if parameter.grad is not None and step.raw.get(name) is not None:
                gradient = parameter.grad.cpu().double()
                off += float((gradient - step.raw[name].double()).square().sum())
                size += float(parameter.grad.double().square().sum())
    weighed = weighting(training, step)
    assert math.sqrt(off / size) < 1e-4
    assert weighed.gap(weighed.tokens) < 1e-4
    assert sum(weighed.weights) == pytest.approx(1, abs=1e-4)


def test_norms_are_torchs(training: Training) -> None:
    """The norm before clipping against torch's own, and the clipped one against its limit."""
    step = run(training, Asked(1)).steps[0]
    norms = torch.stack([g.norm() for g in step.raw.values() if g is not None])
    assert float(norms.norm()) == pytest.approx(step.raw_norm, rel=1e-5)
    assert step.used_norm == pytest.approx(min(1.0, step.raw_norm), rel=1e-4)
