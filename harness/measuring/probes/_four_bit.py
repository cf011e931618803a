"""Rungs 6, 8 and 9, bitsandbytes' own 4-bit matrix multiplication and the way back through it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring.instruments import nf4
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.snapshots import loading
from harness.records.context import Context

METRIC = "four_bit_gap"
# Of rung 6.
DRAWN = "drawn_nf4_gap"
# Of rung 8, by metric and case.
PRODUCTS = (
    (METRIC, "training"),
    (METRIC, "many"),
    (METRIC, "one"),
    ("four_bit_inference_gap", "inferring"),
)
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

    draw = torch.Generator().manual_seed(context.seed)
    linear, dequantised = drawn_linear(context, draw)
    inputs = torch.randn(BATCH, COLUMNS, generator=draw).to(context.device).requires_grad_()
    gradient = torch.randn(BATCH, ROWS, generator=draw)
    linear(inputs).backward(gradient.to(context.device))
    assert inputs.grad is not None
    return _relative(inputs.grad, gradient.double().numpy() @ dequantised)


def record_quantised(recorder: Recorder, context: Context) -> None:
    """Rung 6: how far drawn weights of float32 lie, packed, from what our own arithmetic makes of
    them: nothing rounds them before. Over their largest value."""
    if loading.quantisation_mode(context.device) == "emulated":
        recorder.not_run(DRAWN, "the weights are emulated", Lack.QUANTISATION)
        return
    gap, _ = recorder.attempt(DRAWN, lambda: _drawn_gap(context))
    if gap is not None:
        recorder.add(DRAWN, gap, note="weights of float32, quantised, over the largest")


def _drawn_gap(context: Context) -> float:
    import torch
    from bitsandbytes.functional import dequantize_4bit

    linear, exact = drawn_linear(context, torch.Generator().manual_seed(context.seed))
    kept = dequantize_4bit(linear.weight.data, linear.weight.quant_state)
    off = np.abs(kept.double().cpu().numpy().reshape(exact.shape) - exact)
    return float(off.max() / np.abs(exact).max())


def drawn_linear(context: Context, draw: Any) -> tuple[Any, Any]:
    """A 4-bit Linear as the recipe's are, in float32 and in training mode; and its weight by our
    own arithmetic, float64 (ROWS, COLUMNS). draw: a generator of torch's."""
    import torch
    from bitsandbytes.nn import Linear4bit

    weight = torch.randn(ROWS, COLUMNS, generator=draw)
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
    kernels = _compat.nf4_kernels(context.device)
    dequantised = nf4.dequantise(nf4.quantise(weight, kernels=kernels)).double().numpy()
    return linear.to(context.device), dequantised


def _relative(given: Any, exact: Any) -> float:
    off = given.detach().double().cpu().numpy() - exact
    return float(np.linalg.norm(off) / np.linalg.norm(exact))


def record_product(recorder: Recorder, context: Context) -> None:
    """Relative distance of a 4-bit Linear's output from its dequantised weight's: as it trains, of
    many rows and of one without gradients, and as it infers."""
    for metric, case in PRODUCTS:
        if loading.quantisation_mode(context.device) == "emulated":
            reason = "this stack cannot quantise here; NF4 is emulated"
            recorder.not_run(metric, reason, Lack.QUANTISATION, case=case)
            continue
        gap, _ = recorder.attempt(metric, partial(product_gap, context, case), case=case)
        if gap is not None:
            recorder.add(metric, gap, case=case, note="a 4-bit Linear's output, relative")


def product_gap(context: Context, case: str) -> float:
    """case: one of PRODUCTS'. Some CPUs infer with weights repacked for their bfloat16 units."""
    import torch

    draw = torch.Generator().manual_seed(context.seed)
    linear, dequantised = drawn_linear(context, draw)
    inputs = torch.randn(1 if case == "one" else BATCH, COLUMNS, generator=draw)
    exact = inputs.double().numpy() @ dequantised.T
    given = inputs.to(context.device).requires_grad_(case == "training")
    with torch.set_grad_enabled(case == "training"):
        return _relative(linear.train(case != "inferring")(given), exact)
