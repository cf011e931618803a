"""An adapter adds what its config says, and merged weights are the sum, up to their rounding."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.measuring.audit.checks._saved import logits, moved
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, Relation


@dataclass(frozen=True)
class Adapted:
    """A Linear with LoRA. delta, bound: float64 (out, in) of what its config makes it add, and of
    the absolute values that were summed for it."""

    name: str
    module: Any
    delta: Any
    bound: Any
    is_dora: bool


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    configs = getattr(training.model, "peft_config", None)
    if not configs:
        findings.not_run("adapter_output", "The model has no adapter.")
        return
    kinds = {str(getattr(c.peft_type, "value", c.peft_type)) for c in configs.values()}
    if kinds != {"LORA"} or len(configs) != 1:
        reason = f"Adapters of {', '.join(sorted(kinds))} are not computed here again."
        findings.not_run("adapter_output", reason)
        return
    with isolated(training):
        moved(training.model)
        training.model.eval()
        adapter, config = next(iter(configs.items()))
        layers = list(_adapted(training.model, adapter, config))
        if not layers:
            findings.not_run("adapter_output", "No Linear has an adapter.")
            return
        _outputs(layers, findings)
        _merges(training, layers, findings)


def _adapted(model: Any, adapter: str, config: Any) -> Iterator[Adapted]:
    import torch

    for name, module in model.named_modules():
        a = getattr(module, "lora_A", {})
        if not isinstance(module, torch.nn.Module) or adapter not in a:
            continue
        base = getattr(module, "base_layer", None)
        if not isinstance(base, torch.nn.Linear):
            continue
        down = a[adapter].weight.detach().double()
        up = module.lora_B[adapter].weight.detach().double()
        scale = _scale(name, config, int(down.shape[0]))
        dora = getattr(module, "use_dora", {}).get(adapter, False)
        yield Adapted(name, module, scale * up @ down, scale * up.abs() @ down.abs(), dora)


def _scale(name: str, config: Any, rank: int) -> float:
    """alpha / r, or alpha / √r, with the alpha that the config gives this module."""
    alpha = float(config.lora_alpha)
    for pattern, own in (config.alpha_pattern or {}).items():
        if re.search(rf"(^|\.){pattern}$", name):
            alpha = float(own)
    return alpha / math.sqrt(rank) if config.use_rslora else alpha / rank


def _unit(dtype: Any) -> float:
    import torch

    return float(torch.finfo(dtype).eps) / 2


def _outputs(layers: list[Adapted], findings: Findings) -> None:
    """What a layer adds to its base on random inputs. Of each output: its sum rounds in the
    layer's dtype (inner product, second product, scale, sum with the base: 6 units of all that
    was summed), and float32 accumulates over the inputs."""
    import torch

    worst, where = 0.0, ""
    generator = torch.Generator().manual_seed(1)
    for layer in layers:
        if layer.is_dora:
            continue
        base = layer.module.base_layer
        dtype = torch.float32
        if base.weight.is_floating_point():
            dtype = base.weight.dtype
        x = torch.randn(4, layer.delta.shape[1], generator=generator).to(dtype)
        x = x.to(base.weight.device)
        with torch.no_grad():
            plain, adapted = base(x).double(), layer.module(x).double()
        wanted = x.double() @ layer.delta.T
        summed = x.double().abs() @ layer.bound.T
        narrow = max(_unit(dtype), _unit(next(iter(layer.module.lora_A.values())).weight.dtype))
        inner = layer.delta.shape[1] * _unit(torch.float32)
        allowed = (6 * narrow + inner) * summed + 2 * narrow * (plain.abs() + adapted.abs())
        ratio = float(((adapted - plain - wanted).abs() / allowed).max())
        if ratio > worst:
            worst, where = ratio, layer.name
    findings.put(
        "adapter_output",
        worst,
        1.0,
        relation=Relation.AT_MOST,
        unit="roundings",
        evidence=[where],
        setting="lora_alpha",
    )


def _merges(training: Training, layers: list[Adapted], findings: Findings) -> None:
    import torch

    if any(not layer.module.base_layer.weight.is_floating_point() for layer in layers):
        reason = "Merging into quantised weights rounds them anew; it is not judged here."
        findings.not_run("merged_weights", reason)
        return
    before = logits(training)
    kept = [layer.module.base_layer.weight.detach().cpu().clone() for layer in layers]
    try:
        merged = findings.attempt("merged_weights", lambda: _merged(training, layers, kept))
        after = logits(training) if merged is not None else None
    finally:
        with torch.no_grad():
            for layer, weight in zip(layers, kept, strict=True):
                layer.module.base_layer.weight.copy_(weight)
    if merged is None or after is None:
        return
    findings.put(
        "merged_weights",
        merged[0],
        1.0,
        basis=Basis.IDENTITY,
        relation=Relation.AT_MOST,
        unit="roundings",
        evidence=[merged[1]],
        setting="merge_and_unload",
    )
    findings.record("merged_gap", float((after - before).abs().max()), unit="logit")


def _merged(training: Training, layers: list[Adapted], kept: list[Any]) -> tuple[float, str]:
    """The largest distance of a merged weight from the sum in float64, in units of what storing
    it may round: the sum once, the delta once, and float32's of the delta's own products; of
    DoRA's norm and quotient four more."""
    import torch

    training.model.merge_adapter()
    worst, where = 0.0, ""
    for layer, weight in zip(layers, kept, strict=True):
        stored = layer.module.base_layer.weight.detach()
        wide = weight.to(stored.device).double() + layer.delta
        size = weight.to(stored.device).double().abs() + layer.bound
        units = 2.0
        if layer.is_dora:
            magnitude = next(iter(layer.module.lora_magnitude_vector.values()))
            norm = wide.norm(dim=1, keepdim=True)
            factor = getattr(magnitude, "weight", magnitude).detach().double().view(-1, 1) / norm
            wide, size, units = wide * factor, size * factor.abs(), 8.0
        narrow, single = _unit(stored.dtype), _unit(torch.float32)
        inner = (next(iter(layer.module.lora_A.values())).weight.shape[0] + 4) * single
        allowed = units * narrow * size + inner * size
        ratio = float(((stored.double() - wide).abs() / allowed).max())
        if ratio > worst:
            worst, where = ratio, layer.name
    return worst, where
