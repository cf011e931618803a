"""The loss of preference pairs, from its definition."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import product

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.losses_of_pairs import (
    LOSSES,
    SMOOTHED,
    Ratios,
    Strength,
    loss_of_pairs,
)
from harness.measuring.audit.scoring import Scored, epsilon, move, score, stir
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# The arguments of TRL's that make a loss the papers' own.
_PAPERS = {
    "f_divergence_type": "reverse_kl",
    "ld_alpha": None,
    "use_weighting": False,
    "precompute_ref_log_probs": False,
}


def preference_loss(training: Training, findings: Findings, batch: Batch) -> None:
    """The mean over pairs of the declared losses, from the log-probabilities of both answers, with
    adapters, or weights, that have learned a little; the reference is the model without adapters,
    or the one that the Trainer has beside it."""
    beside = getattr(training.trainer, "ref_model", None)
    if beside is not None:
        trains = {id(p) for p in training.model.parameters() if p.requires_grad}
        shared = [name for name, p in beside.named_parameters() if id(p) in trains]
        findings.put(
            "reference_trains",
            len(shared),
            0,
            unit="tensors",
            evidence=shared,
            setting="ref_model",
        )
    measured = findings.attempt("preference_loss", lambda: _losses(training, batch))
    if measured is None:
        return
    loss, truth, tolerance = measured
    findings.put(
        "preference_loss",
        loss,
        truth,
        basis=Basis.IDENTITY,
        tolerance=tolerance,
        unit="nats/pair",
        evidence=[f"{kind} × {weight:g}" for kind, weight in _kinds(training).items()],
        setting="beta",
    )


def _losses(training: Training, batch: Batch) -> tuple[float, float, float]:
    """(the Trainer's, the definition's, what rounding may make of it)."""
    import torch

    kinds = _kinds(training)
    _is_the_papers(training, kinds)
    by = Strength(float(training.args.beta), _smoothing(training))
    beside = getattr(training.trainer, "ref_model", None)
    with training.restored():
        if beside is None:
            stir(training)
        else:
            move(training)
        trained = score(training, batch.inputs, every=True)
        with training.model.disable_adapter() if beside is None else nullcontext():
            reference = score(training, batch.inputs, every=True, model=beside)
        with torch.no_grad():
            loss = float(training.loss(batch.inputs))
    given = _ratios(trained, reference, len(batch.ids))
    truth = loss_of_pairs(given, by, kinds)
    # Each ratio is two sums of as many targets as the longest row has, each off by a rounding of
    # its logits.
    longest = int(torch.bincount(trained.rows).max())
    off = 2 * longest * max(epsilon(training), 2.0**-24) * max(1.0, trained.largest)
    moved = [
        replace(given, chosen=given.chosen + a * off, rejected=given.rejected + b * off)
        for a, b in product((-1, 1), repeat=2)
    ]
    furthest = max(abs(loss_of_pairs(other, by, kinds) - truth) for other in moved)
    return loss, truth, furthest + off / longest + 2.0**-22 * max(1.0, abs(truth))


def _ratios(trained: Scored, reference: Scored, rows: int) -> Ratios:
    import torch

    log_p = torch.stack([reference.of_row(i).sum() - trained.of_row(i).sum() for i in range(rows)])
    counts = torch.bincount(trained.rows, minlength=rows).double()
    nll = torch.cat([trained.of_row(i) for i in range(rows // 2)]).mean()
    (chosen, rejected), (long_chosen, long_rejected) = log_p.chunk(2), counts.chunk(2)
    return Ratios(chosen, rejected, long_chosen, long_rejected, nll)


def _kinds(training: Training) -> dict[str, float]:
    """Weight by name of the losses that the arguments declare."""
    declared = getattr(training.args, "loss_type", "sigmoid")
    names = [declared] if isinstance(declared, str) else [str(name) for name in declared]
    weights = getattr(training.args, "loss_weights", None) or [1.0] * len(names)
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)}


def _smoothing(training: Training) -> float:
    return float(getattr(training.args, "label_smoothing", 0.0) or 0.0)


def _is_the_papers(training: Training, kinds: dict[str, float]) -> None:
    """Raises NotRunnable where the losses, their arguments, or the reference are others."""
    for kind in kinds:
        if kind not in LOSSES:
            raise NotRunnable(
                f"The loss {kind} of pairs is not computed here; those that are: "
                f"{', '.join(LOSSES)}.",
                Lack.OTHER,
            )
        if _smoothing(training) and kind not in SMOOTHED:
            raise NotRunnable(
                f"What label_smoothing does to the loss {kind} differs by release: it is not "
                "computed here.",
                Lack.OTHER,
            )
    for name, papers in _PAPERS.items():
        value = getattr(training.args, name, papers)
        if getattr(value, "value", value) != papers:
            raise NotRunnable(
                f"The loss of pairs is computed here as its paper has it; {name} is {value}.",
                Lack.OTHER,
            )
    adapters = set(training.structure.configs)
    has_own = getattr(training.trainer, "ref_model", None) is not None
    if "ref" in adapters or has_own == bool(adapters):
        raise NotRunnable(
            "The reference is neither the model without its only adapter nor a copy of a model "
            "that trains whole; another is not computed here.",
            Lack.OTHER,
        )
