"""Cost: bytes by component, where a step's time goes, and what of it is padding. Never judged: a
clock tells of the machine too."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any

from harness.errors import Lack
from harness.measuring.audit.checks import _ways
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.steps.observed import observed
from harness.measuring.audit.steps.running import Asked, fresh
from harness.measuring.audit.steps.watching import Micro, Run, Step
from harness.measuring.audit.steps.weighting import targets
from harness.measuring.audit.structure import Structure, stored
from harness.measuring.audit.training import Training
from harness.measuring.instruments.device import device_key
from harness.measuring.models import canonical_name
from harness.records.audit import Relation
from harness.records.record import How
from harness.records.typed import Json

# Micro-batches that are collated for the clock.
_COLLATED = 4


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    taken = findings.attempt("step_seconds", lambda: observed(training))
    if taken is None or not taken.steps:
        return
    _bytes(training, taken, findings)
    _peak(training, findings)
    _padding(training, findings)
    data = findings.attempt("data_seconds", lambda: _data(training))
    if data is not None:
        findings.record("data_seconds", data, unit="s")
        _time(taken, data, findings)
    _ways.checks(training, findings)


def _bytes(training: Training, taken: Run, findings: Findings) -> None:
    """What a training holds between two steps, from shapes and dtypes: weights by component, one
    gradient for each that trains, the optimizer's own tensors."""
    structure = Structure(training.model, training.core, training.family)
    parts: Counter[str] = Counter()
    seen: set[int] = set()
    for name, parameter in training.core.named_parameters():
        if parameter.data_ptr() not in seen:
            seen.add(parameter.data_ptr())
            plain = name if training.family is None else canonical_name(name, training.family)
            kind = "adapter" if "lora_" in name else str(structure.component(plain))
            parts[kind] += stored(parameter)
    parts["gradients"] = sum(
        p.numel() * p.element_size() for p in training.model.parameters() if p.requires_grad
    )
    parts["optimizer"] = taken.state_bytes
    parts["buffers"] = sum(b.numel() * b.element_size() for b in training.model.buffers())
    findings.put(
        "held_bytes",
        {name: int(count) for name, count in parts.items()},
        relation=Relation.RECORDED,
        unit="bytes",
        how=How.PREDICTED,
    )


def _peak(training: Training, findings: Findings) -> None:
    """The most that a step takes on a GPU, beside what this process holds there anyway."""
    import torch

    device = next(training.model.parameters()).device
    if device.type != "cuda":
        reason = "Peak memory is read off a GPU, and this training is on a CPU."
        findings.not_run("peak_bytes", reason, Lack.CUDA)
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    findings.record("card", _card(training, str(device)))
    ran = findings.attempt("peak_bytes", lambda: fresh(training, Asked(1, dropout=True)))
    if ran is not None:
        peak = torch.cuda.max_memory_allocated(device)
        findings.record("peak_bytes", {"before": before, "step": peak}, unit="bytes")


def _card(training: Training, device: str) -> dict[str, Json]:
    """The GPU, its bytes, and the largest micro-batch taken: what is looked up to name a way that
    fits."""
    import torch

    shapes = [batch.inputs["input_ids"].shape for batch in training.batches]
    return {
        "device": device_key(device),
        "bytes": int(torch.cuda.get_device_properties(device).total_memory),
        "rows": max(int(shape[0]) for shape in shapes),
        "places": max(int(shape[-1]) for shape in shapes),
    }


def _tokens(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """(places in the batch, of them tokens)."""
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    there = ids.numel() if mask is None or mask.shape != ids.shape else int((mask != 0).sum())
    return int(ids.numel()), int(there)


def _padding(training: Training, findings: Findings) -> None:
    counts = [_tokens(batch.inputs) for batch in training.batches]
    places, tokens = (sum(column) for column in zip(*counts, strict=True))
    findings.record("padding_share", 1 - tokens / places, unit="share")


def _data(training: Training) -> float:
    """Seconds that reading and collating one micro-batch takes, the first one left out."""
    with isolated(training):
        batches = iter(training.trainer.get_train_dataloader())
        seconds = []
        for _ in range(_COLLATED):
            started = time.perf_counter()
            if next(batches, None) is None:
                break
            seconds.append(time.perf_counter() - started)
    return median(seconds[1:] or seconds)


def _time(taken: Run, data: float, findings: Findings) -> None:
    """Of the later steps: the first one warms caches up."""
    steps = [step for step in taken.steps if all("all" in m.seconds for m in step.micros)]
    steps = steps[1:] or steps
    if not steps:
        reason = "A loop without Trainer was not timed: the harness ran inside its steps."
        findings.not_run("step_seconds", reason, Lack.OTHER)
        return
    seconds = [_seconds(step, data) for step in steps]
    samples: list[Json] = [sum(parts.values()) for parts in seconds]
    findings.record("step_seconds", samples, unit="s")
    whole = sum(sum(parts.values()) for parts in seconds)
    shares: dict[str, Json] = {
        name: sum(parts[name] for parts in seconds) / whole for name in seconds[0]
    }
    findings.record("time_by_phase", shares, unit="share of time")
    micros: list[Micro] = [micro for step in steps for micro in step.micros]
    tokens = sum(_tokens(micro.inputs)[1] for micro in micros)
    findings.record("tokens_per_second", tokens / whole, unit="1/s")
    trained = sum(targets(micro) for micro in micros)
    findings.record("trained_tokens_per_second", trained / whole, unit="1/s")


def _seconds(step: Step, data: float) -> dict[str, float]:
    backward = sum(micro.seconds.get("backward", 0.0) for micro in step.micros)
    return {
        "data": data * len(step.micros),
        "forward": sum(micro.seconds["all"] for micro in step.micros) - backward,
        "backward": backward,
        "optimizer": step.seconds,
    }
