"""Forward: the loss is what it says it is, and nothing moves it that must not."""

from __future__ import annotations

import math
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.checks._invariant import invariances
from harness.measuring.audit.checks._preference import preference_loss
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rounding import noise
from harness.measuring.audit.scoring import (
    IGNORED,
    Scored,
    epsilon,
    logits_of,
    score,
    stir,
    targets_of,
)
from harness.measuring.audit.steps.settings import switches_dropout_off
from harness.measuring.audit.structure import active, is_four_bit
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# Config fields by which a model's logits are not its head's product alone.
_LOGIT_RULES = (
    "final_logit_softcapping",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "output_multiplier",
)
# float64 products of a whole vocabulary are slow; a wrong head is wrong everywhere.
_POSITIONS = 8


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    batch = training.batches[0]
    if batch.labels is None:
        findings.not_run("loss", "The batches have no labels.")
        return
    with training.restored():
        scored = findings.attempt("logits_not_finite", lambda: score(training, batch.inputs))
        if scored is None:
            return
        findings.put("logits_not_finite", scored.broken, 0, unit="logits")
        if scored.broken:
            return
        findings.put(
            "targets_from_padding",
            scored.from_padding,
            0,
            unit="targets",
            setting="padding_side",
        )
        if batch.are_pairs:
            reason = "Pairs of answers are compared; their loss is judged at preference_loss."
            findings.not_run("loss", reason)
            preference_loss(training, findings, batch)
        else:
            _loss(training, findings, batch, scored)
        smoothing = float(training.declared.get("label_smoothing_factor") or 0.0)
        findings.put("smoothing", smoothing, 0.0, unit="share", setting="label_smoothing_factor")
        _count(training, findings)
        findings.attempt("head", lambda: _head(training, findings, batch))
        invariances(training, findings, batch, scored)
    findings.attempt("dropout", lambda: _dropout(training, findings, batch))
    if training.trace is not None:
        findings.put(
            "trains_in_evaluation",
            training.trace.evaluated,
            0,
            unit="micro-batches",
            evidence=[f"of {len(training.trace.micros)}"],
            setting="train",
        )


def _loss(training: Training, findings: Findings, batch: Batch, scored: Scored) -> None:
    """The Trainer's loss against cross-entropy by definition."""
    import torch

    loss_type = str(getattr(training.args, "loss_type", "nll"))
    if loss_type not in {"nll", "chunked_nll"} or _has_routers(training):
        findings.not_run("loss", f"The loss is {loss_type} or has a router's part beside it.")
        return
    if scored.from_padding:
        scored = score(training, batch.inputs, every=True)
    truth = _smoothed(training, scored)
    with torch.no_grad():
        loss = float(training.loss(batch.inputs))
        doubled = 2 * len(scored.losses)
        counted = float(training.loss(batch.inputs, count=torch.tensor(doubled)))
    if not math.isfinite(loss) or not math.isfinite(counted):
        findings.put("loss_finite", False, True, setting="compute_loss")
        return
    # Sums of float32 losses, each off by a rounding of its logits; a fused head rounds those
    # logits itself, in the dtype of the forward.
    tolerance = 4 * max(epsilon(training), 2.0**-24) * max(1.0, scored.largest)
    findings.put(
        "loss",
        loss,
        float(truth.mean()),
        basis=Basis.IDENTITY,
        tolerance=tolerance,
        unit="nats/token",
        setting="compute_loss",
    )
    # Told of twice as many targets the loss is half of it, or the mean where it does not listen:
    # which of the two a training needs is a matter of its accumulation.
    mean = float(truth.mean())
    nearest = min((mean, mean / 2), key=lambda wanted: abs(wanted - counted))
    findings.put(
        "loss_by_count",
        counted,
        nearest,
        basis=Basis.IDENTITY,
        tolerance=tolerance,
        unit="nats/token",
        setting="compute_loss",
    )


def _smoothed(training: Training, scored: Scored) -> Any:
    """float64 (targets,): with label smoothing a part of each target is every token."""
    share = float(training.declared.get("label_smoothing_factor") or 0.0)
    return (1 - share) * scored.losses + share * scored.smooth


def _has_routers(training: Training) -> bool:
    config = training.core.config
    text = getattr(config, "text_config", None) or config
    return bool(getattr(text, "output_router_logits", False))


def _count(training: Training, findings: Findings) -> None:
    """The Trainer's own count of an optimizer step's targets."""
    count = getattr(training.trainer, "_get_num_items_in_batch", None)
    accumulated = int(training.args.gradient_accumulation_steps)
    batches = training.batches[:accumulated]
    if count is None or len(batches) < accumulated:
        findings.not_run("targets_counted", "This Trainer counts no targets, or the step is short.")
        return
    told = count([dict(batch.inputs) for batch in batches], batches[0].ids.device)
    if told is None:
        findings.not_run("targets_counted", "This Trainer counts no targets of this model's.")
        return
    asked = sum(int(targets_of(batch.inputs)[0].sum()) for batch in batches)
    # Trainers before transformers 5.2x count labels of rows' first tokens, which nothing predicts.
    first = sum(int((batch.labels[:, 0] != IGNORED).sum()) for batch in batches)
    findings.put(
        "targets_counted",
        int(told),
        asked,
        tolerance=float(first),
        unit="targets",
        setting="data_collator",
    )


def _head(training: Training, findings: Findings, batch: Batch) -> None:
    """The logits are the head's product of what the decoder gives it, and nothing else."""
    import torch

    head = training.core.get_output_embeddings()
    config = training.core.config
    texts = (config, getattr(config, "text_config", None))
    rules = [n for n in _LOGIT_RULES if any(getattr(c, n, None) not in {None, 1.0} for c in texts)]
    whole = None if head is None else active(head)
    if rules or not isinstance(whole, torch.nn.Linear) or is_four_bit(whole) or head is not whole:
        raise NotRunnable("The head is no plain Linear, or its config changes what it gives.")
    seen: list[Any] = []
    handle = head.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    try:
        logits = logits_of(training, batch.inputs)
    finally:
        handle.remove()
    asked, _ = targets_of(batch.inputs)
    place = asked.to(logits.device).nonzero()[:_POSITIONS].unbind(1)
    hidden, weight = seen[-1][place].double(), whole.weight.detach().double()
    wanted = hidden @ weight.T + (0 if whole.bias is None else whole.bias.detach().double())
    # A sum of n products is off by a rounding of each of n partial sums, none larger than the sum
    # of the terms' sizes; roundings are independent, so that they add up by the root of n.
    terms = float((hidden.abs() @ weight.abs().T).max()) * hidden.shape[-1] ** 0.5
    findings.put(
        "head",
        float((logits[place].double() - wanted).abs().max()),
        0.0,
        basis=Basis.IDENTITY,
        tolerance=epsilon(training) * terms,
        setting=training.structure.path(head),
    )


def _dropout(training: Training, findings: Findings, batch: Batch) -> None:
    """Training differs from evaluation where dropout is declared, and nowhere else.

    By more than another order of sums would; or, where a computation repeats to the bit, by any
    bit from one draw to another: 16 bits round more away than a small rate moves.
    """
    import torch

    with training.restored():
        stir(training)
        still = score(training, batch.inputs)
        limit = noise(training, batch.inputs, still)
    drawn = []
    with training.restored(train=True):
        stir(training)
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            drawn.append(score(training, batch.inputs).losses)
    first, again, other = drawn
    by_draw = torch.equal(first, again) and not torch.equal(first, other)
    gap = float((still.losses - first).abs().max())
    declared, sources = _declared_dropout(training)
    dropouts = [
        f"{name} {module.p:g}"
        for name, module in training.core.named_modules()
        if isinstance(module, torch.nn.Dropout) and module.p > 0 and ".lora_" not in name
    ]
    findings.put(
        "dropout",
        by_draw or gap > limit,
        declared,
        basis=Basis.DECLARED,
        evidence=[*sources, *dropouts],
        setting="lora_dropout" if any("lora" in s for s in sources) else "attention_dropout",
    )


def _declared_dropout(training: Training) -> tuple[bool, list[str]]:
    """Whether the settings ask for dropout, and where."""
    structure, sources = training.structure, []
    if switches_dropout_off(training):
        return False, ["disable_dropout"]
    for config in structure.configs.values():
        if getattr(config, "lora_dropout", 0):
            sources.append(f"lora_dropout {config.lora_dropout:g}")
    configs = [structure.core.config]
    configs += [c for c in vars(structure.core.config).values() if hasattr(c, "to_diff_dict")]
    for config in configs:
        for name, value in vars(config).items():
            rate = "dropout" in name or name.endswith("_pdrop") or "drop_path" in name
            if rate and isinstance(value, float) and value > 0:
                sources.append(f"{name} {value:g}")
    return bool(sources), sources
