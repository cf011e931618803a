"""Trajectory: the same steps twice, dropout, what moves, what is saved, the order of the rows."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from typing import Any

from harness.errors import Lack
from harness.measuring.audit.checks import _merged, _order, _saved
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.generators import generators_of, is_unseeded
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.observed import observed
from harness.measuring.audit.steps.running import Asked, fresh
from harness.measuring.audit.steps.settings import switches_dropout_off
from harness.measuring.audit.steps.watching import Run
from harness.measuring.audit.training import Training
from harness.measuring.instruments.dropout import Dropped, adapter_rates, counted
from harness.records.audit import Basis
from harness.records.typed import Json


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    own = [type(g).__name__ for g in generators_of(training) if is_unseeded(g)]
    findings.put("unseeded_generators", len(own), 0, evidence=own, setting="data_collator")
    _trained(training, findings)
    _evaluated(training, findings)
    moved = findings.attempt("unmoved", lambda: observed(training))
    if moved is not None:
        _moved(moved, findings)
    _order.checks(training, findings)
    _saved.checks(training, findings)
    _merged.checks(training, findings)


def _trained(training: Training, findings: Findings) -> None:
    """The same steps twice, as they train: with their dropout. Of a loop without Trainer a
    Trainer's loop takes them, on the batches that the loop took."""
    if training.trace is not None:
        reason = (
            "A loop without Trainer is run once: its model, optimizer and batches were taken again "
            "by a Trainer's loop; what its own code does a second time was not judged."
        )
        findings.not_run("loop_repeats", reason)
    asked, dropped = Asked(training.steps, dropout=True), Dropped()
    frozen: list[str] = []
    states: list[str] = []
    once = findings.attempt(
        "losses", lambda: fresh(training, asked, _watched(training, dropped, frozen, states))
    )
    if once is None:
        return
    losses: list[Json] = [x.loss if math.isfinite(x.loss) else str(x.loss) for x in once.micros]
    findings.record("losses", losses, unit="nats")
    findings.put("frozen_moved", len(frozen), 0, unit="tensors", evidence=frozen)
    rates = adapter_rates(training.model).values()
    wanted = dropped.wanted_share or max(rates, default=0.0)
    wanted = 0.0 if switches_dropout_off(training) else wanted
    findings.put(
        "dropout_in_training",
        dropped.share,
        wanted,
        basis=Basis.DECLARED,
        tolerance=dropped.tolerance,
        unit="share",
        setting="lora_dropout",
    )
    if wanted and dropped.wanted_share and len(states) > 1:
        findings.put(
            "dropout_repeats",
            len(states) - len(set(states)),
            0,
            basis=Basis.IDENTITY,
            unit="micro-batches",
            evidence=[f"{len(set(states))} masks for {len(states)} micro-batches"],
            setting="training_step",
        )
    again = findings.attempt("losses_repeat", lambda: fresh(training, asked))
    if again is not None:
        _repeats(training, once, again, findings)


@contextlib.contextmanager
def _watched(
    training: Training, dropped: Dropped, frozen: list[str], states: list[str]
) -> Iterator[None]:
    """Counts what dropout drops, names frozen tensors that are not what they were, and keeps the
    random state that each forward pass of the training begins with."""
    import torch

    before = _fingerprints(training)

    def keep(module: Any, args: Any) -> None:
        if module.training and torch.is_grad_enabled():
            states.append(_random_state(module))

    handle = training.model.register_forward_pre_hook(keep)
    try:
        with counted(training.model, dropped):
            yield
    finally:
        handle.remove()
    after = _fingerprints(training)
    frozen += [name for name, value in before.items() if after.get(name, value) != value]


def _random_state(model: Any) -> str:
    """Of the generator that dropout draws from: that of the device where the model is."""
    import torch

    device = next(model.parameters()).device
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    return hashlib.sha256(state.numpy().tobytes()).hexdigest()


def _fingerprints(training: Training) -> dict[str, tuple[float, float]]:
    """Of every frozen parameter: its sum and that of its squares, in float64."""
    values = {}
    for name, parameter in training.model.named_parameters():
        if not parameter.requires_grad:
            wide = parameter.detach().double()
            values[name] = (float(wide.sum()), float(wide.square().sum()))
    return values


def _repeats(training: Training, once: Run, again: Run, findings: Findings) -> None:
    """Bit for bit on a CPU, whose kernels add in one order; a GPU's may not, so that there the
    losses may differ by a rounding of what they are computed in and weights are only recorded:
    AdamW's first steps turn a rounding of a small gradient into a whole step."""
    import torch

    pairs = list(zip(once.micros, again.micros, strict=False))
    drawn = [(a.drawn or a.inputs, b.drawn or b.inputs) for a, b in pairs]
    other = [i for i, (one, another) in enumerate(drawn) if not _equal(one, another)]
    findings.put(
        "batches_repeat",
        len(other),
        0,
        basis=Basis.IDENTITY,
        unit="micro-batches",
        evidence=[f"micro-batch {i + 1}" for i in other],
        setting="data_collator",
    )
    on_cpu = next(training.model.parameters()).device.type == "cpu"
    gaps = [_gap(a.loss, b.loss) for a, b in pairs]
    scale = max((abs(a.loss) for a, _ in pairs if math.isfinite(a.loss)), default=1.0)
    unit = float(torch.finfo(torch.bfloat16).eps)
    findings.put(
        "losses_repeat",
        max(gaps, default=0.0),
        0.0,
        basis=Basis.IDENTITY,
        tolerance=0.0 if on_cpu else unit * scale,
        unit="nats",
        setting="seed",
    )
    if not once.steps or not again.steps:
        findings.not_run("weights_repeat", "No optimizer that holds a weight of the model stepped.")
        return
    weights = [
        float((a.double() - b.double()).abs().max())
        for name, a in once.steps[-1].after.items()
        if (b := again.steps[-1].after[name]).numel()
    ]
    widest = max(weights, default=0.0)
    if on_cpu:
        findings.put("weights_repeat", widest, 0.0, basis=Basis.IDENTITY, setting="seed")
    else:
        findings.record("weights_repeat", widest)


def _gap(one: float, other: float) -> float:
    if math.isfinite(one) and math.isfinite(other):
        return abs(one - other)
    return 0.0 if str(one) == str(other) else 1.0


def _equal(one: Any, other: Any) -> bool:
    import torch

    if set(one) != set(other):
        return False
    pairs = [(v, other[n]) for n, v in one.items() if isinstance(v, torch.Tensor)]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def _evaluated(training: Training, findings: Findings) -> None:
    """The Trainer's own evaluation of the first batch drops nothing."""
    import torch

    batch, dropped = training.batches[0], Dropped()
    if training.trace is not None:
        reason = "A loop without Trainer evaluates in its own way, which was not reached."
        findings.not_run("dropout_in_evaluation", reason, Lack.OTHER)
        return
    loader = torch.utils.data.DataLoader(
        list(range(len(batch.ids))),
        batch_size=len(batch.ids),
        collate_fn=lambda rows: dict(batch.inputs),
    )

    def evaluate() -> Dropped:
        with isolated(training), counted(training.model, dropped):
            training.trainer.evaluation_loop(loader, "Audit", prediction_loss_only=True)
        return dropped

    if findings.attempt("dropout_in_evaluation", evaluate) is not None:
        findings.put(
            "dropout_in_evaluation",
            dropped.share,
            0.0,
            basis=Basis.IDENTITY,
            unit="share",
            setting="prediction_step",
        )


def _moved(taken: Run, findings: Findings) -> None:
    """Whatever had a gradient in a step with a rate has moved."""
    groups = {name: i for i, names in enumerate(taken.members) for name in names if name}
    still = []
    for name in taken.steps[0].before if taken.steps else ():
        asked = [
            step
            for step in taken.steps
            if name not in groups or float(step.groups[groups[name]]["lr"])
            if step.used[name] is not None and bool((step.used[name] != 0).any())
        ]
        if asked and not any(bool((s.after[name] != s.before[name]).any()) for s in asked):
            still.append(name)
    findings.put("unmoved", len(still), 0, unit="tensors", evidence=still, setting="learning_rate")
