"""Backward: every gradient that must come comes, is finite, and is the loss's slope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.checks._slope import slope_check
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.scoring import epsilon, stir
from harness.measuring.audit.structure import SEES, is_peft_own
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis


def checks(training: Training, findings: Findings) -> None:
    """See the module. Gradients are those of the first batch with pictures, in training mode, with
    adapters that have learned a little: while B is zero A's gradient is exactly zero."""
    batch = _chosen(training)
    if batch.labels is None:
        findings.not_run("loss_without_gradient", "The batches have no labels.")
        return
    with training.restored(train=True), _counted(training) as calls:
        stir(training)
        gradients = findings.attempt("gradients", lambda: _gradients(training, batch))
        called = {path for path, (forward, _) in calls.items() if forward}
        rerun = [path for path, (forward, backward) in calls.items() if forward and backward]
    if gradients is None:
        return
    findings.put("loss_without_gradient", not gradients, False, setting="requires_grad")
    _arrived(training, findings, gradients, called, batch)
    _checkpointing(training, findings, rerun)
    if not gradients:
        return
    checkpoint = findings.attempt("checkpoint_gap", lambda: _unchecked(training, batch, gradients))
    if checkpoint is not None:
        # Recomputing runs the same kernels on the same numbers; sums over rows that are added to a
        # gradient in another order differ by a rounding each.
        findings.put(
            "checkpoint_gap",
            checkpoint,
            0.0,
            basis=Basis.IDENTITY,
            tolerance=64 * epsilon(training),
            unit="share",
            setting="gradient_checkpointing_kwargs",
        )
    slope_check(training, findings, batch)


def _chosen(training: Training) -> Batch:
    """The first batch with pictures, else the first: without one the tower has nothing to do."""
    image = training.picture_token_id
    shown = (b for b in training.batches if image is not None and bool((b.ids == image).any()))
    return next(shown, training.batches[0])


def _trained(training: Training) -> dict[str, Any]:
    return {n: p for n, p in training.core.named_parameters() if p.requires_grad}


def _gradients(training: Training, batch: Batch) -> dict[str, Any]:
    """Every parameter's gradient, by name; none at all where the loss has none. Dropout draws the
    same each time."""
    import torch

    torch.manual_seed(0)
    training.model.zero_grad(set_to_none=True)
    loss = training.loss(batch.inputs)
    if not loss.requires_grad:
        return {}
    training.trainer.accelerator.backward(loss)
    return {
        name: parameter.grad.detach().clone()
        for name, parameter in training.core.named_parameters()
        if parameter.grad is not None
    }


@contextmanager
def _counted(training: Training) -> Iterator[dict[str, list[int]]]:
    """(calls in forward, calls in backward) of every module while inside, by path. A module that is
    called inside backward is computed again: it is checkpointed."""
    import torch

    calls = {path: [0, 0] for path, _ in training.core.named_modules()}

    def counter(path: str) -> Any:
        def hook(module: Any, args: Any) -> None:
            again = torch._C._current_graph_task_id() != -1
            calls[path][again] += 1

        return hook

    handles = [
        module.register_forward_pre_hook(counter(path))
        for path, module in training.core.named_modules()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _arrived(
    training: Training,
    findings: Findings,
    gradients: Mapping[str, Any],
    called: set[str],
    batch: Batch,
) -> None:
    """Of every tensor that trains: whether a gradient came, and whether it says anything."""
    import torch

    trained, structure = _trained(training), training.structure
    shown = training.picture_token_id is not None and bool(
        (batch.ids == training.picture_token_id).any()
    )
    # A fused head takes the head's weight without calling it.
    idle = sorted(n for n in trained if n not in gradients and not _owner_called(n, called))
    judged = [n for n in trained if n not in idle]
    missing = [n for n in judged if n not in gradients or not bool(gradients[n].any())]
    broken = [n for n, g in gradients.items() if not bool(torch.isfinite(g).all())]
    if not shown:
        missing = [n for n in missing if structure.component(n) not in SEES]
    findings.put(
        "without_gradient",
        len(missing),
        0,
        unit="tensors",
        evidence=_by_component(training, missing),
        setting="gradient_checkpointing_kwargs",
    )
    findings.put("not_finite", len(broken), 0, unit="tensors", evidence=broken)
    if idle and shown:
        evidence = [*_by_component(training, idle), *idle]
        findings.put("never_called", len(idle), 0, unit="tensors", evidence=evidence)
    frozen = sorted(set(gradients) - set(trained))
    findings.put("frozen_with_gradient", len(frozen), 0, unit="tensors", evidence=frozen)


def _owner_called(name: str, called: set[str]) -> bool:
    """Whether a parameter's module ran: itself, or of a vector that peft keeps beside a module the
    module that it belongs to."""
    path = name.rsplit(".", 1)[0]
    while path and path not in called and is_peft_own(path):
        path = path.rsplit(".", 1)[0] if "." in path else ""
    return path in called


def _by_component(training: Training, names: list[str]) -> list[str]:
    counts = Counter(str(training.structure.component(name)) for name in names)
    return [f"{component} {count}" for component, count in counts.items()]


def _checkpointing(training: Training, findings: Findings, rerun: list[str]) -> None:
    """How many of the decoder's layers are computed again in backward."""
    layers = [path for path, _ in training.structure.layers]
    # Where it is checkpointed inside its own call only what it is made of is called again.
    again = [path for path in layers if any(f"{name}.".startswith(f"{path}.") for name in rerun)]
    if not training.args.gradient_checkpointing:
        findings.record("layers_recomputed", len(again), unit="layers")
        return
    every = int((training.args.gradient_checkpointing_kwargs or {}).get("every_n_layers", 1))
    findings.put(
        "checkpointing",
        len(again),
        -(-len(layers) // every),
        basis=Basis.DECLARED,
        unit="layers",
        evidence=[path for path in layers if path not in again] if every == 1 else (),
        setting="gradient_checkpointing",
    )


def _unchecked(training: Training, batch: Batch, gradients: Mapping[str, Any]) -> float:
    """Distance between gradients with and without checkpointing, relative to their size."""
    if not training.args.gradient_checkpointing:
        raise NotRunnable("Checkpointing is not declared.")
    with training.restored(train=True, checkpointed=False):
        stir(training)
        plain = _gradients(training, batch)
    return gap(plain, gradients)


def gap(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Norm of the difference over the norm of `one`; what is missing counts as zero."""
    names = set(one) | set(other)
    off = sum(float(_difference(one.get(n), other.get(n)).square().sum()) for n in names)
    size = sum(float(g.double().square().sum()) for g in one.values())
    return float((off / size) ** 0.5) if size else float(bool(off))


def _difference(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return (other if one is None else one).double()
    return one.double() - other.double()
