"""What a model makes of a batch's targets: each one's loss, computed here in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.contents import copied
from harness.measuring.audit.preferring import for_the_model, labels_of
from harness.measuring.audit.training import Batch, Training
from harness.records.disk import raise_of_the_disk

IGNORED = -100


@dataclass(frozen=True)
class Scored:
    """losses: float64 (targets,), -log p of each, row by row in order. rows: int64 (targets,),
    the row of each. smooth: float64 (targets,), the mean of -log p over the vocabulary. largest:
    the largest magnitude of a logit. broken: logits that are no finite number. from_padding:
    targets that are predicted from padding, as a row's first token is where padding is before it;
    what that gives depends on the other rows, so they are left out where rows are compared."""

    losses: Any
    rows: Any
    smooth: Any
    largest: float
    broken: int
    from_padding: int

    def of_row(self, row: int) -> Any:
        """The losses of one row."""
        return self.losses[self.rows == row]


def logits_of(training: Training, inputs: Mapping[str, Any], model: Any = None, **more: Any) -> Any:
    """(rows, tokens, vocabulary) of the training's own forward, without labels or gradients.
    model: in place of the one that trains."""
    import torch

    given = for_the_model(training.trainer._prepare_inputs(dict(inputs)))
    with torch.no_grad(), training.autocast():
        return (model or training.model)(**given, **more).logits


def targets_of(inputs: Mapping[str, Any]) -> tuple[Any, Any]:
    """(bool (rows, tokens - 1): what the loss asks for, by the token before; bool: of those the
    ones predicted from padding)."""
    import torch

    asked = labels_of(inputs)[:, 1:] != IGNORED
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return asked, torch.zeros_like(asked)
    return asked, asked & (mask[:, :-1] == 0)


def score(
    training: Training,
    inputs: Mapping[str, Any],
    *,
    every: bool = False,
    model: Any = None,
    **more: Any,
) -> Scored:
    """The losses of a batch's targets. every: those too that are predicted from padding, as the
    loss has them. model: in place of the one that trains. more: keywords of the model's forward.
    Raises NotRunnable for a batch without any target."""
    import torch

    asked, padded = targets_of(inputs)
    kept = asked if every else asked & ~padded
    if not bool(kept.any()):
        raise NotRunnable("The batch has no target.", Lack.OTHER)
    logits = logits_of(training, inputs, model, **more)
    kept = kept.to(logits.device)
    chosen = logits[:, :-1][kept].double()
    labels = labels_of(inputs).to(logits.device)[:, 1:][kept]
    finite = torch.isfinite(chosen)
    log_p = torch.log_softmax(chosen, dim=-1)
    return Scored(
        -log_p.gather(-1, labels[:, None])[:, 0].cpu(),
        kept.nonzero()[:, 0].cpu(),
        -log_p.mean(-1).cpu(),
        float(chosen[finite].abs().max()) if bool(finite.any()) else 0.0,
        int((~finite).sum()),
        int(padded.sum()),
    )


def epsilon(training: Training) -> float:
    """Half the distance between 1 and its neighbour in the coarsest dtype that the forward computes
    in: the relative error of one rounding. Stored weights count, 4-bit ones by their compute
    dtype, and autocast."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16}
    kinds = {p.dtype for p in training.core.parameters() if p.is_floating_point()}
    kinds |= {
        module.compute_dtype
        for module in training.core.modules()
        if isinstance(getattr(module, "compute_dtype", None), torch.dtype)
    }
    precision = str(training.trainer.accelerator.mixed_precision)
    kinds |= {named[precision]} if precision in named else set()
    return max(float(torch.finfo(kind).eps) for kind in kinds) / 2


def collated(training: Training, features: Sequence[Any]) -> Batch:
    """A batch that the training's own collator makes of rows. Raises NotRunnable where it cannot
    be called again."""
    import torch

    device = next(training.core.parameters()).device
    try:
        torch.manual_seed(0)
        # TRL's put what they make of a row into it.
        inputs = training.trainer.data_collator([copied(row) for row in features])
    except Exception as error:
        raise_of_the_disk(error)
        raise NotRunnable(
            f"The collator cannot be called again on its rows ({type(error).__name__}).", Lack.OTHER
        ) from error
    return Batch({n: v.to(device) if hasattr(v, "to") else v for n, v in inputs.items()})


def stir(training: Training) -> None:
    """Give every factor B of an adapter that is zero small values, so that adapters matter. Only
    inside `restored`."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for layer in training.structure.adapted.values():
            for factor in getattr(layer, "lora_B", {}).values():
                if not bool(factor.weight.any()):
                    factor.weight.normal_(std=STIRRED)


def move(training: Training) -> None:
    """Move every weight that trains by a hundredth of what they differ by among each other, so that
    a model differs from its reference. Only inside `restored`."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in training.model.parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                parameter.add_(torch.randn_like(parameter) * parameter.std() / 100)


# As far as the weights of a model are from zero when it is drawn: an adapter that has learned.
STIRRED = 0.02
