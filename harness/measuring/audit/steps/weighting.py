"""How the micro-batches of an optimizer step are weighed: against what each gives alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.measuring.audit.preferring import are_pairs, labels_of
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.running import Asked, run, without_dropout
from harness.measuring.audit.steps.watching import Micro, Step
from harness.measuring.audit.training import Training

IGNORED = -100


@dataclass(frozen=True)
class Weighting:
    """weights: what the accumulated gradient has of each micro-batch's own, by least squares.
    tokens: each one's share of the labels, or of the pairs. gap: of the accumulated gradient to
    the wanted weights', relative. told: whether the loop told its loss what the whole step trains
    on."""

    weights: tuple[float, ...]
    tokens: tuple[float, ...]
    told: bool
    gradients: Sequence[Mapping[str, Any]]
    whole: Mapping[str, Any]

    @property
    def equal(self) -> tuple[float, ...]:
        """The mean of the micro-batches' means."""
        return tuple(1 / len(self.tokens) for _ in self.tokens)

    def gap(self, wanted: Sequence[float]) -> float:
        """Distance of the accumulated gradient from the micro-batches' so weighed, relative."""
        return mixed_gap(self.whole, self.gradients, wanted)

    def by_tokens(self, tolerance: float) -> bool:
        """Whether micro-batches count among each other as their tokens do, whatever all of them
        are multiplied by."""
        total = sum(self.weights)
        return bool(total) and self.gap([total * share for share in self.tokens]) < tolerance


def mixed_gap(
    whole: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], weights: Sequence[float]
) -> float:
    """Distance of a gradient from the sum of others so weighed, relative to that sum."""
    mixed = _mixed(parts, weights)
    off = sum(float((whole[n].double() - mixed[n]).square().sum()) for n in mixed)
    size = sum(float(g.square().sum()) for g in mixed.values())
    return float((off / size) ** 0.5) if size else 0.0


def targets(micro: Micro) -> int:
    """Labels that a causal loss asks for: those that have a token before them."""
    labels = labels_of(micro.inputs)
    return 0 if labels is None else int((labels[..., 1:] != IGNORED).sum())


def _counted(micro: Micro) -> int:
    """What a micro-batch's loss is the mean of: its targets, or its pairs."""
    return len(micro.inputs["input_ids"]) // 2 if are_pairs(micro.inputs) else targets(micro)


def weighting(training: Training, step: Step) -> Weighting:
    """The first step's. Each micro-batch runs alone on the same weights, dropout off, through the
    training's own loop. Raises whatever that raises."""
    gradients = _of_loop(training, step) if training.trace is not None else _alone(training, step)
    counts = [_counted(micro) for micro in step.micros]
    total = sum(counts)
    shares = tuple(count / total if total else 1 / len(counts) for count in counts)
    whole = _present(step.raw)
    return Weighting(
        _fitted(whole, gradients), shares, step.micros[0].count is not None, gradients, whole
    )


def _alone(training: Training, step: Step) -> list[dict[str, Any]]:
    """Each micro-batch's gradient, by the Trainer's own loop without accumulation."""
    alone = run(training, Asked(len(step.micros), accumulation=1, still=True))
    return [_present(other.raw) for other in alone.steps]


def _of_loop(training: Training, step: Step) -> list[dict[str, Any]]:
    """The same of a loop without Trainer, by the model's own loss."""
    gradients = []
    with isolated(training):
        without_dropout(training.model)
        training.model.train()
        for micro in step.micros:
            training.model.zero_grad()
            training.loss(micro.inputs).backward()
            own = {n: p.grad for n, p in training.model.named_parameters() if n in step.raw}
            gradients.append(_present({n: g.cpu() for n, g in own.items() if g is not None}))
    return gradients


def _present(gradients: Mapping[str, Any]) -> dict[str, Any]:
    return {name: g.double() for name, g in gradients.items() if g is not None}


def _mixed(gradients: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    names = set().union(*gradients)
    mixed = {}
    for name in names:
        parts = [w * g[name] for w, g in zip(weights, gradients, strict=True) if name in g]
        mixed[name] = sum(parts[1:], parts[0])
    return mixed


def _fitted(whole: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    import torch

    def dot(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        return sum(float((one[n] * other[n]).sum()) for n in one if n in other)

    inner = torch.tensor([[dot(a, b) for b in parts] for a in parts], dtype=torch.float64)
    right = torch.tensor([dot(a, whole) for a in parts], dtype=torch.float64)
    return tuple(float(w) for w in torch.linalg.lstsq(inner, right).solution)
