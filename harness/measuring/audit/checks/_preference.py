"""The loss of preference pairs, from its definition (Rafailov et al., arXiv 2305.18290, eq. 7)."""

from __future__ import annotations

from typing import Any

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.scoring import Scored, epsilon, score, stir
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# The arguments of TRL's that make it the paper's loss.
_PAPERS = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "f_divergence_type": "reverse_kl",
    "ld_alpha": None,
    "label_smoothing": 0.0,
    "use_weighting": False,
    "precompute_ref_log_probs": False,
}


def preference_loss(training: Training, findings: Findings, batch: Batch) -> None:
    """-log σ(β (log-ratio of the chosen answer - that of the rejected one)), the mean over pairs,
    with adapters that have learned a little; the reference is the model without them."""
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
        setting="beta",
    )


def _losses(training: Training, batch: Batch) -> tuple[float, float, float]:
    """(the Trainer's, the definition's, what rounding may make of it)."""
    import torch

    _is_the_papers(training)
    beta = float(training.args.beta)
    with training.restored():
        stir(training)
        trained = score(training, batch.inputs, every=True)
        with training.model.disable_adapter():
            reference = score(training, batch.inputs, every=True)
        with torch.no_grad():
            loss = float(training.loss(batch.inputs))
    rows = len(batch.ids)
    ratios = torch.stack([_log_p(trained, i) - _log_p(reference, i) for i in range(rows)])
    chosen, rejected = ratios.chunk(2)
    truth = -torch.nn.functional.logsigmoid(beta * (chosen - rejected)).mean()
    # Four sums of as many targets as the longest row has, each off by a rounding of its logits;
    # the loss bends by at most as much as its argument moves.
    longest = int(torch.bincount(trained.rows).max())
    single = 4 * max(epsilon(training), 2.0**-24) * max(1.0, trained.largest)
    return loss, float(truth), 4 * beta * longest * single + 2.0**-22


def _log_p(scored: Scored, row: int) -> Any:
    return -scored.of_row(row).sum()


def _is_the_papers(training: Training) -> None:
    """Raises NotRunnable where the arguments, or the reference, are others."""
    for name, papers in _PAPERS.items():
        value = getattr(training.args, name, papers)
        if getattr(value, "value", value) != papers:
            raise NotRunnable(
                f"The loss of pairs is computed here as its paper has it; {name} is {value}.",
                Lack.OTHER,
            )
    trainer = training.trainer
    adapters = set(training.structure.configs)
    if getattr(trainer, "ref_model", None) is not None or not adapters or "ref" in adapters:
        raise NotRunnable(
            "The reference is a model or adapter of its own, which is not computed here.",
            Lack.OTHER,
        )
