"""The quantised path by itself: the library's 4-bit Linears against our NF4 arithmetic.

Both models hold the same weights; one loads them as the recipe does (Linear4bit through
from_pretrained and BitsAndBytesConfig), the other passes them through our arithmetic
(harness/measuring/instruments/nf4.py) and back. In float32 their losses and gradients differ by
rounding only.

And what 4-bit weights do to a model that asks them for their dtype: it is not a float's.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring._compat import Kernels
from harness.measuring.instruments.capture import captured
from harness.measuring.instruments.nf4 import is_skipped
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family, parts
from harness.measuring.probes._batches import batch, forward, plain_model
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.records.context import Context
from harness.records.record import How

GAPS = ("quantised_gap", "quantised_inference_gap", "repacked_inference_gap")


def quantised_model(context: Context, mode: str, kernels: Kernels = "cuda") -> Any:
    """The adapted model (seeded A and B, no dropout) on float32 with that quantisation.

    In training mode: bitsandbytes repacks a CPU's weights for bfloat16 units when a model in
    eval mode first infers, whatever the compute dtype says.
    """
    model = loading.load_model(
        context.snapshot,
        device=context.device,
        dtype="float32",
        quantisation=mode,
        kernels=kernels,
    )
    model = adapter.add_lora(model, context.recipe, seed=context.seed, dropout=False)
    adapter.randomise_lora_b(model, seed=context.seed)
    return model.train()


@dataclass(frozen=True)
class Given:
    """A quantised model's loss and logits in training mode, its logits in evaluation mode, and
    those that it infers as its library has it: some CPUs repack the weights for their bfloat16
    units, where every Linear has whole blocks of rows; None where one has not, or where nobody
    asks."""

    loss: float
    training: Any
    inferring: Any
    repacked: Any


def given(model: Any, inputs: dict[str, Any], *, repacked: bool = False) -> Given:
    """What a model gives for a batch, way by way; not fit to be asked again. repacked: as its
    library has it, too."""
    import torch

    with torch.no_grad():
        trains = forward(model, inputs)
        infers = forward(model.eval(), inputs).logits
        asked = repacked and _compat.infer_as_usual(model)
        usual = forward(model, inputs).logits if asked else None
        return Given(float(trains.loss), trains.logits, infers, usual)


def record_loss(recorder: Recorder, context: Context) -> None:
    """forward.quantised_loss, labelled as what it is; gaps where the library really quantised.

    They are of logits, for losses can agree by luck; their truth is zero. Where the weights are
    emulated there is nothing to compare and they are NOT_RUN.
    """
    import torch

    mode = loading.quantisation_mode(context.device)
    inputs = batch(context, "right")
    if mode == "emulated":
        with torch.no_grad():
            loss = float(forward(quantised_model(context, mode), inputs).loss)
        recorder.add("quantised_loss", loss, unit="nats/token", how=How.EMULATED)
        for name in GAPS:
            reason = "this stack cannot quantise here; NF4 is emulated"
            recorder.not_run(name, reason, Lack.QUANTISATION)
        return
    theirs, _ = recorder.attempt(
        "quantised_loss", lambda: given(quantised_model(context, mode), inputs, repacked=True)
    )
    if theirs is None:
        for name in GAPS:
            recorder.blocked(name, "forward.quantised_loss")
        return
    recorder.add("quantised_loss", theirs.loss, unit="nats/token")
    kernels = _compat.nf4_kernels(context.device)
    ours = given(quantised_model(context, "emulated", kernels), inputs)
    gap = (theirs.training - ours.training).abs().max()
    recorder.add("quantised_gap", float(gap), unit="logits")
    real = inputs["attention_mask"].bool()
    gap = (theirs.inferring - ours.inferring)[real].abs().max()
    recorder.add("quantised_inference_gap", float(gap), unit="logits")
    if theirs.repacked is None:
        reason = "a Linear's rows are no multiple of 32: the library repacks no such weight"
        recorder.not_run(GAPS[2], reason, Lack.QUANTISATION)
        return
    gap = (theirs.repacked - ours.inferring)[real].norm() / ours.inferring[real].norm()
    note = "as the library infers by itself, over the norm of the logits"
    recorder.add("repacked_inference_gap", float(gap), note=note)


class _Seen(Exception):
    """The patch embedding was reached; nothing behind it is asked."""


def packed(context: Context) -> tuple[Any, How]:
    """The model with its 4-bit weights held in bytes, and how that came to be.

    On CUDA the library quantises. On a CPU, where most stacks cannot, every Linear's weight is
    replaced by an empty one of the dtype and shape that bitsandbytes packs it into, uint8
    (ceil(n / 2), 1): such a model cannot be run through, only asked what it makes of its inputs.
    """
    import torch

    if context.device.startswith("cuda"):
        return quantised_model(context, "bitsandbytes"), How.MEASURED
    model, skip = plain_model(context).train(), family(context.family).NOT_QUANTISED
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not is_skipped(name, skip):
            halves = torch.empty(((module.weight.numel() + 1) // 2, 1), dtype=torch.uint8)
            module.weight = torch.nn.Parameter(halves, requires_grad=False)
    return model, How.EMULATED


def pixel_gap(context: Context) -> tuple[float, How]:
    """Largest difference between the processor's pixels and what a 4-bit model's patch embedding
    gets of them."""
    model, how = packed(context)
    inputs = batch(context, "right")

    def reached(module: Any, args: Any) -> None:
        raise _Seen

    with captured(model) as seen:
        handle = parts(model).patch_embedding.register_forward_pre_hook(reached)
        try:
            with contextlib.suppress(_Seen):
                forward(model, inputs)
        finally:
            handle.remove()
    return float(
        (seen.patches.float() - family(context.family).entering(inputs).float()).abs().max()
    ), how
