"""The optimizer itself: what it holds and how it is set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.settings import declared, has_own_optimizer, stated
from harness.measuring.audit.steps.watching import Run
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation
from harness.records.typed import Json

# transformers' names of optimizers whose class is torch's own.
_CLASSES = {"adamw_torch": "AdamW", "adamw_torch_fused": "AdamW", "sgd": "SGD"}


def checks(training: Training, taken: Run, findings: Findings) -> None:
    """See the module."""
    _members(training, taken, findings)
    if not taken.steps:
        return
    _settings(training, taken, findings)
    _decay(training, taken, findings)
    _state(training, taken, findings)


def _trainables(training: Training) -> dict[str, Any]:
    return {n: p for n, p in training.model.named_parameters() if p.requires_grad}


def _members(training: Training, taken: Run, findings: Findings) -> None:
    members = {name for names in taken.members for name in names}
    missing = [name for name in _trainables(training) if name not in members]
    findings.put(
        "missing_in_optimizer",
        len(missing),
        0,
        unit="tensors",
        evidence=missing,
        setting="optimizers",
    )
    findings.record("frozen_in_optimizer", taken.strangers, unit="tensors")


def _settings(training: Training, taken: Run, findings: Findings) -> None:
    groups = taken.steps[0].groups
    rate = min(float(group.get("initial_lr", group["lr"])) for group in groups)
    truth = declared(training, "learning_rate")
    _held(training, findings, "learning_rate", rate, truth, 1e-9 * float(truth or 1))
    kind = type(taken.optimizer).__name__
    wanted = _CLASSES.get(str(declared(training, "optim")))
    if wanted is None:
        findings.record("optimizer", kind)
    else:
        _held(training, findings, "optimizer", kind, wanted, 0.0, "optim")
    if "betas" not in groups[0]:
        findings.not_run("betas", f"The optimizer is {kind}, which has no betas.")
        return
    betas: list[Json] = [float(beta) for beta in groups[0]["betas"]]
    names = ("adam_beta1", "adam_beta2")
    told: list[Json] = [declared(training, name) for name in names]
    _held(training, findings, "betas", betas, told, 1e-12, *names)
    findings.put(
        "beta_order",
        betas[0],
        betas[-1],
        relation=Relation.AT_MOST,
        setting="betas" if has_own_optimizer(training) else "adam_beta1",
    )
    epsilon = declared(training, "adam_epsilon")
    _held(training, findings, "epsilon", float(groups[0]["eps"]), epsilon, 0.0, "adam_epsilon")


def _held(
    training: Training,
    findings: Findings,
    name: str,
    value: Json,
    truth: Json,
    tolerance: float,
    *settings: str,
) -> None:
    """Hold the optimizer to a setting: where the user's own optimizer overrides it, only if the
    user said both."""
    settings = settings or (name,)
    is_stated = stated(training, *settings) if has_own_optimizer(training) else True
    if not training.declared or not is_stated:
        findings.record(name, value)
        return
    findings.put(name, value, truth, basis=Basis.DECLARED, tolerance=tolerance, setting=settings[0])


def _decay(training: Training, taken: Run, findings: Findings) -> None:
    spared = set(_spared(training))
    decayed: list[str] = []
    rates = []
    for group, names in zip(taken.steps[0].groups, taken.members, strict=True):
        rate = float(group.get("weight_decay", 0.0))
        if rate:
            decayed += [name for name in names if name in spared]
        if any(name and name not in spared for name in names):
            rates.append(rate)
    findings.put(
        "decayed_norms",
        len(decayed),
        0,
        unit="tensors",
        evidence=decayed,
        setting="weight_decay",
    )
    if rates:
        truth = float(declared(training, "weight_decay") or 0.0)
        _held(training, findings, "weight_decay", max(rates), truth, 1e-12)


def _spared(training: Training) -> Iterator[str]:
    """Trainable norms and biases: by the kind of module that they belong to, and by name."""
    for path, module in training.model.named_modules():
        kind = type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and ("norm" in kind or name == "bias"):
                yield f"{path}.{name}" if path else name


def _state(training: Training, taken: Run, findings: Findings) -> None:
    """No moment is narrower than what it moves, and none has 16 bits. Integers are the codes of
    8-bit optimizers, which say so by their name."""
    import torch

    narrow: dict[str, list[str]] = {}
    short: dict[str, list[str]] = {}
    parameters = _trainables(training)
    for name, tensors in taken.state.items():
        for state, text in tensors.items():
            dtype = getattr(torch, text.removeprefix("torch."))
            if not dtype.is_floating_point or dtype.itemsize >= 4:
                continue
            wider = parameters[name].dtype.itemsize > dtype.itemsize
            (narrow if wider else short).setdefault(f"{state}: {text}", []).append(name)
    for kind, moments, setting in (
        ("narrow_state", narrow, "optimizers"),
        ("short_state", short, "dtype"),
    ):
        count = sum(map(len, moments.values()))
        evidence = [f"{state}, of {_several(names)}" for state, names in moments.items()]
        findings.put(kind, count, 0, unit="tensors", evidence=evidence, setting=setting)


def _several(names: list[str]) -> str:
    """The first, and how many more."""
    return names[0] + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")
