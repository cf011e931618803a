"""Update: what an optimizer step is made of and what it does, against the settings and AdamW."""

from __future__ import annotations

from typing import Any

from harness.measuring import _compat
from harness.measuring.audit.checks import _optimizer, _processes, _schedule
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.adamw import excess
from harness.measuring.audit.steps.observed import observed
from harness.measuring.audit.steps.running import Asked, run
from harness.measuring.audit.steps.settings import declared
from harness.measuring.audit.steps.watching import Run, Step
from harness.measuring.audit.steps.weighting import Weighting, weighting
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation

# What torch adds to a norm before it divides by it.
_CLIP_EPS = 1e-6


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    taken = findings.attempt("steps", lambda: observed(training))
    if taken is None:
        return
    _optimizer.checks(training, taken, findings)
    if not taken.steps:
        return
    findings.record("steps", len(taken.steps), unit="steps")
    findings.record("loss_scale", taken.scale)
    _schedule.checks(training, taken, findings)
    _clipping(training, taken, findings)
    _adamw(taken, findings)
    weighed = findings.attempt("accumulation", lambda: weighting(training, taken.steps[0]))
    if weighed is not None:
        _accumulation(training, weighed, findings)
        step = taken.steps[0]
        _processes.checks(training, step, weighed, _tolerance(training, step), findings)


def _rounding(step: Step) -> float:
    """How far a gradient that is summed in its own dtype may be off, relative.

    float32: 2^-24 for each of some hundred terms in a row, rounded up; 16 bits: 2^-8, four times,
    since each micro-batch's own gradient is rounded too.
    """
    import torch

    half = any(
        g is not None and g.dtype in {torch.bfloat16, torch.float16} for g in step.raw.values()
    )
    return 4 * 2.0**-8 if half else 1e-4


def _tolerance(training: Training, step: Step) -> float:
    """The same where the forward pass computes in 16 bits, or a GPU's products in TF32 (ten bits:
    2^-11 a rounding): two passes round alike on one device, but kernels choose by shape."""
    autocast = str(getattr(training.trainer.accelerator, "mixed_precision", "no"))
    model = {str(p.dtype) for p in training.model.parameters() if p.is_floating_point()}
    half = autocast in {"bf16", "fp16"} or model & {"torch.bfloat16", "torch.float16"}
    parameters = training.model.parameters()
    short = any(p.is_cuda for p in parameters) and _compat.rounds_products()
    return max(_rounding(step), 4 * 2.0**-8 if half else 0.0, 4 * 2.0**-11 if short else 0.0)


def _clipping(training: Training, taken: Run, findings: Findings) -> None:
    """Every step's gradient is scaled to the declared norm and no further; and so it is where the
    norm asked for is a third of what there is."""
    most = taken.clip if taken.clip is not None else declared(training, "max_grad_norm", 0.0)
    most = float(most or 0.0)
    findings.record("gradient_norm", [step.raw_norm for step in taken.steps])
    shares = [step.used_norm / step.raw_norm for step in taken.steps if step.raw_norm]
    wanted = [_clipped(step.raw_norm, most) for step in taken.steps if step.raw_norm]
    tolerance = _rounding(taken.steps[0])
    findings.put(
        "clipping",
        [*shares],
        [*wanted],
        basis=Basis.DECLARED,
        tolerance=tolerance,
        evidence=[f"norm {s.raw_norm:.3g}, used {s.used_norm:.3g}" for s in taken.steps],
        setting="max_grad_norm",
    )
    first = taken.steps[0].raw_norm
    if not taken.is_loop:
        findings.put("clipping_off", not most, False, setting="max_grad_norm")
    if not most or not first or taken.is_loop:
        return
    limit = first / 3
    forced = findings.attempt(
        "clipping_forced", lambda: run(training, Asked(1, clip=limit)).steps[0]
    )
    if forced is not None:
        findings.put(
            "clipping_forced",
            forced.used_norm,
            limit,
            basis=Basis.IDENTITY,
            tolerance=tolerance * limit,
            setting="max_grad_norm",
        )


def _clipped(norm: float, most: float) -> float:
    return min(1.0, most / (norm + _CLIP_EPS)) if most > 0 else 1.0


def _is_fused_on_a_gpu(optimizer: Any) -> bool:
    return any(
        bool(group.get("fused")) and parameter.is_cuda
        for group in optimizer.param_groups
        for parameter in group["params"]
    )


def _adamw(taken: Run, findings: Findings) -> None:
    import torch

    optimizer, step = taken.optimizer, taken.steps[0]
    plain = isinstance(optimizer, torch.optim.AdamW) and not any(
        group.get("amsgrad") or group.get("maximize") for group in step.groups
    )
    if not plain:
        kind = type(optimizer).__name__
        findings.not_run("adamw", f"The optimizer is {kind}; only AdamW is computed here again.")
        return
    groups = {name: i for i, names in enumerate(taken.members) for name in names if name}
    names = [name for name in step.before if name in groups]
    findings.put(
        "adamw",
        excess(taken.steps, groups, names, short_powers=_is_fused_on_a_gpu(optimizer)),
        1.0,
        relation=Relation.AT_MOST,
        unit="roundings",
        evidence=[f"{len(names)} tensors, {len(taken.steps)} steps"],
        setting="optimizers",
    )


def _accumulation(training: Training, weighed: Weighting, findings: Findings) -> None:
    """Micro-batches count as one batch of them all would, by tokens; where the library itself
    takes the mean of their means, that is said."""
    step = observed(training).steps[0]
    tolerance = _tolerance(training, step)
    by_token = weighed.told or (training.trace is not None and weighed.by_tokens(tolerance))
    wanted = weighed.tokens if by_token else weighed.equal
    findings.put(
        "accumulation",
        weighed.gap(wanted),
        0.0,
        basis=Basis.IDENTITY,
        tolerance=tolerance,
        unit="share",
        evidence=[
            f"micro-batch {i + 1} counts {is_:.3g}, must count {must:.3g}"
            for i, (is_, must) in enumerate(zip(weighed.weights, wanted, strict=True))
        ],
        setting="compute_loss",
    )
    findings.put(
        "weighting",
        [round(share, 6) for share in wanted],
        [round(share, 6) for share in weighed.tokens],
        tolerance=1e-6,
        unit="share",
        setting="gradient_accumulation_steps",
    )
