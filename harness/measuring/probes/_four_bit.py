"""Rung 9, back through bitsandbytes' own 4-bit matrix multiplication."""

from __future__ import annotations

import numpy as np

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring.instruments import nf4
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.snapshots import loading
from harness.records.context import Context

METRIC = "four_bit_gap"
# Whole blocks of 64, as every kernel takes them; not square, so that no axis stands for another.
ROWS, COLUMNS, BATCH = 96, 128, 16


def record_four_bit(recorder: Recorder, context: Context) -> None:
    """Relative distance of the gradient of a 4-bit Linear's input from what the dequantised
    weight gives; NOT_RUN where the library cannot quantise."""
    if loading.quantisation_mode(context.device) == "emulated":
        reason = "this stack cannot quantise here; NF4 is emulated"
        recorder.not_run(METRIC, reason, Lack.QUANTISATION)
        return
    gap, _ = recorder.attempt(METRIC, lambda: gradient_gap(context))
    if gap is not None:
        recorder.add(METRIC, gap, note="gradient of a 4-bit Linear's input, relative")


def gradient_gap(context: Context) -> float:
    """Of seeded weights (ROWS, COLUMNS), inputs and gradients in float32."""
    import torch
    from bitsandbytes.nn import Linear4bit

    draw = torch.Generator().manual_seed(context.seed)
    weight = torch.randn(ROWS, COLUMNS, generator=draw)
    inputs = torch.randn(BATCH, COLUMNS, generator=draw).to(context.device).requires_grad_()
    gradient = torch.randn(BATCH, ROWS, generator=draw)
    quantisation = context.recipe.quantisation
    linear = Linear4bit(
        COLUMNS,
        ROWS,
        bias=False,
        compute_dtype=torch.float32,
        compress_statistics=quantisation.bnb_4bit_use_double_quant,
        quant_type=quantisation.bnb_4bit_quant_type,
    )
    linear.weight.data.copy_(weight)
    linear.to(context.device)(inputs).backward(gradient.to(context.device))
    kernels = _compat.nf4_kernels(context.device)
    dequantised = nf4.dequantise(nf4.quantise(weight, kernels=kernels)).double().numpy()
    exact = gradient.double().numpy() @ dequantised
    assert inputs.grad is not None
    off = inputs.grad.double().cpu().numpy() - exact
    return float(np.linalg.norm(off) / np.linalg.norm(exact))
