"""Rung 6, values: what was loaded is what the snapshot holds, and how an adapter begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring.instruments import nf4
from harness.measuring.instruments.packed import codes_off, unpacked
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, of
from harness.records.context import Context
from harness.records.typed import Json

CASE = "model"
# Of weights that the library quantised.
PACKED = ("nf4_gap", "weight_codes_off", "scale_codes_off")


def record_values(
    recorder: Recorder, context: Context, model: Any, quantised: Sequence[str]
) -> None:
    """Tensors that are not the snapshot's in the model's own type; where the library quantised, how
    far a few of its weights lie from NF4's of the snapshot's.

    quantised: canonical names of the modules that are, without `.weight`.
    """
    import torch

    loader = of(model)
    packed = {f"{name}.weight" for name in quantised}
    asked = _few(sorted(packed))
    strays, gaps, off = [], [], []
    parameters = {canonical_name(n, loader): p for n, p in model.named_parameters()}
    seen = set()
    for raw, read in _tensors(context.snapshot):
        name = canonical_name(raw, loader)
        parameter = parameters.get(name)
        seen.add(name)
        if parameter is None:
            continue
        if name not in packed:
            same = torch.equal(read().to(parameter.dtype), parameter.detach().cpu())
            strays += [] if same else [name]
        elif name in asked and hasattr(parameter, "quant_state"):
            # Where it lies: the scales' mean is a sum, which another device takes in another order.
            ours = _quantised(context, read().to(parameter.device))
            gaps.append(_packed_gap(ours, parameter))
            if context.recipe.quantisation.bnb_4bit_use_double_quant:
                off.append((ours, parameter))
    missing = parameters.keys() - seen
    changed: list[Json] = [*sorted({*strays, *missing})]
    recorder.add("loaded_strays", changed, case=CASE, unit="tensors")
    if gaps:
        note = f"{len(gaps)} weights, over the largest value of each"
        recorder.add("nf4_gap", max(gaps), case=CASE, note=note)
        _record_codes_off(recorder, off)
    else:
        for name in PACKED:
            recorder.not_run(name, "the weights are emulated", Lack.QUANTISATION, case=CASE)


def _record_codes_off(recorder: Recorder, pairs: Sequence[tuple[nf4.Quantised, Any]]) -> None:
    """Codes of weights and of their scales that are not those of our own arithmetic: what they are
    off by is less than the weights' own rounding. pairs: ours, and the parameter."""
    if not pairs:
        for name in PACKED[1:]:
            reason = "the recipe leaves the scales as they are"
            recorder.not_run(name, reason, Lack.DECLARATION, case=CASE)
        return
    counted, _ = recorder.attempt(
        PACKED[1], lambda: [codes_off(ours, unpacked(p)) for ours, p in pairs], case=CASE
    )
    if counted is None:
        recorder.blocked(PACKED[2], f"model.{PACKED[1]}.{CASE}", case=CASE)
        return
    for name, counts in zip(PACKED[1:], zip(*counted, strict=True), strict=True):
        recorder.add(name, sum(counts), case=CASE, unit="codes", note=f"of {len(pairs)} weights")


def _few(names: Sequence[str]) -> set[str]:
    """The first and last, and two between: each is quantised once more."""
    return {names[i * (len(names) - 1) // 3] for i in range(4)} if names else set()


def _tensors(snapshot: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Of every tensor its name and what reads it: of a 7B most are not asked for."""
    from safetensors import safe_open

    for path in sorted(snapshot.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - a file of tensors, not a mapping
                yield name, partial(file.get_tensor, name)


def _quantised(context: Context, tensor: Any) -> nf4.Quantised:
    """By our own arithmetic; rounded to the type that it is loaded in before it is quantised."""
    import torch

    half = tensor.to(getattr(torch, context.recipe.quantisation.bnb_4bit_compute_dtype))
    return nf4.quantise(half, kernels=_compat.nf4_kernels(context.device))


def _packed_gap(quantised: nf4.Quantised, parameter: Any) -> float:
    """Over the weight's largest value."""
    from bitsandbytes.functional import dequantize_4bit

    kept = dequantize_4bit(parameter.data, parameter.quant_state).float()
    ours = nf4.dequantise(quantised).float()
    return float((kept.reshape(ours.shape) - ours).abs().max() / ours.abs().max())


def record_start(recorder: Recorder, wrapped: Any) -> None:
    """How the adapters begin and what they are multiplied by.

    start_spread: of all A the root of the mean of 3 × in × a², in being the Linear's inputs: 1 for
    a uniform distribution up to 1 / √in, which is Kaiming's for a slope of √5.
    """
    squares, count, reach, largest = 0.0, 0, 0.0, 0.0
    for name, parameter in wrapped.named_parameters():
        values = parameter.detach().double()
        if ".lora_A." in name:
            inputs = parameter.shape[1]
            squares += 3 * inputs * float((values**2).sum())
            reach = max(reach, float(values.abs().max()) * math.sqrt(inputs))
            count += parameter.numel()
        elif ".lora_B." in name:
            largest = max(largest, float(values.abs().max()))
    recorder.add("start_of_b", largest, case=CASE)
    recorder.add("start_reach", reach, case=CASE, note="largest A times √in")
    recorder.add("start_spread", math.sqrt(squares / max(1, count)), case=CASE)
    _record_adapters(recorder, wrapped)


def _record_adapters(recorder: Recorder, wrapped: Any) -> None:
    """Of every adapted Linear's own factor, rank and dropout the values that differ, in order."""
    # A model's own attention may have a factor too, a number.
    adapters = [m for m in wrapped.modules() if isinstance(getattr(m, "scaling", None), dict)]
    factors = {float(s) for each in adapters for s in each.scaling.values()}
    ranks = {int(a.weight.shape[0]) for each in adapters for a in each.lora_A.values()}
    # Without dropout peft puts an Identity there.
    drops = {float(getattr(d, "p", 0.0)) for m in adapters for d in m.lora_dropout.values()}
    for name, values in (
        ("lora_scaling", factors),
        ("lora_ranks", ranks),
        ("lora_dropouts", drops),
    ):
        different: list[Json] = [*sorted(values)]
        recorder.add(name, different, case=CASE)
    idle: list[Json] = [
        name
        for name, each in wrapped.named_modules()
        if isinstance(getattr(each, "scaling", None), dict)
        and (each.disable_adapters or each.merged or set(each.active_adapters) != set(each.lora_A))
    ]
    recorder.add("lora_idle", idle, case=CASE, unit="modules")
