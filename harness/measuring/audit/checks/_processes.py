"""One more process changes nothing: what two of them would average, by the Trainer's own loss."""

from __future__ import annotations

from typing import Any
from unittest import mock

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.running import without_dropout
from harness.measuring.audit.steps.watching import Step
from harness.measuring.audit.steps.weighting import Weighting, mixed_gap, targets
from harness.measuring.audit.training import Training
from harness.records.audit import Basis

_PROCESSES = 2


def checks(
    training: Training, step: Step, weighed: Weighting, tolerance: float, findings: Findings
) -> None:
    """Two micro-batches of a step go to a process each, and the gradients are averaged as
    distributed training averages them: that must be the step of one process, by tokens."""
    if len(step.micros) < _PROCESSES:
        reason = (
            "A step is one micro-batch here, so that there is none to give to a second process."
        )
        findings.not_run("one_more_process", reason)
        return
    if not weighed.told and training.trace is not None and weighed.by_tokens(tolerance):
        reason = (
            "The loop divides by the tokens of its step itself; whether by those of all processes "
            "is not judged."
        )
        findings.not_run("one_more_process", reason)
        return
    if not weighed.told:
        reason = (
            "Each process takes the mean of its own micro-batches; how that weighs them is said "
            "at weighting."
        )
        findings.not_run("one_more_process", reason)
        return
    averaged = findings.attempt("one_more_process", lambda: _averaged(training, step))
    if averaged is None:
        return
    counts = [targets(micro) for micro in step.micros[:_PROCESSES]]
    shares = [count / sum(counts) for count in counts]
    gap = mixed_gap(averaged, weighed.gradients[:_PROCESSES], shares)
    if _shares_counts(training):
        findings.put(
            "one_more_process",
            gap,
            0.0,
            basis=Basis.IDENTITY,
            tolerance=tolerance,
            unit="share",
            evidence=[f"micro-batches of {', '.join(map(str, counts))} trained tokens"],
            setting="compute_loss",
        )
    else:
        findings.put(
            "processes_apart",
            gap,
            0.0,
            tolerance=tolerance,
            unit="share",
            setting="average_tokens_across_devices",
        )


def _shares_counts(training: Training) -> bool:
    """Whether processes tell each other how many tokens they train on."""
    return bool(getattr(training.args, "average_tokens_across_devices", False))


def _averaged(training: Training, step: Step) -> dict[str, Any]:
    """The mean over processes of each one's gradient, float64 on the CPU, by name."""
    import torch

    micros = step.micros[:_PROCESSES]
    total = sum(targets(micro) for micro in micros)
    kind = type(training.trainer.accelerator)
    several = mock.patch.object(kind, "num_processes", property(lambda self: _PROCESSES))
    mean: dict[str, Any] = {}
    with isolated(training), several:
        without_dropout(training.model)
        training.model.train()
        for micro in micros:
            count = total if _shares_counts(training) else targets(micro)
            training.model.zero_grad()
            device = micro.inputs["input_ids"].device
            training.loss(micro.inputs, count=torch.tensor(count, device=device)).backward()
            for name, parameter in training.model.named_parameters():
                if parameter.grad is not None and step.raw.get(name) is not None:
                    own = parameter.grad.double().cpu() / _PROCESSES
                    mean[name] = mean[name] + own if name in mean else own
    return mean
