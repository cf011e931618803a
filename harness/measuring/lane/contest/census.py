"""What a side computes in: dtypes that modules give, dropout that is on, what is packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.measuring.models import canonical_name, of, parts

COMPILED = "_compiled_call_impl"


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Nothing runs compiled: a hook makes a graph of its own of every module, and after eight
    torch.compile gives a function up for good."""
    import torch

    stance = getattr(torch.compiler, "set_stance", None)
    if stance is not None:
        with stance("force_eager"):
            yield
        return
    # Before torch 2.6; ways that compile the tower's blocks are for newer ones.
    kept = [(m, m._compiled_call_impl) for m in model.modules() if getattr(m, COMPILED, None)]
    for module, _ in kept:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in kept:
            module._compiled_call_impl = call


def dtypes_given(model: Any, forward: Callable[[], object]) -> dict[str, str]:
    """Module (canonical name) -> dtype of the float tensor that it gives, over one eager forward
    pass without gradients."""
    import torch

    seen: dict[str, str] = {}
    loader = of(model)

    def noted(name: str) -> Callable[..., None]:
        def hook(_: Any, __: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) and output else output
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                seen[name] = str(value.dtype).removeprefix("torch.")

        return hook

    handles = [
        module.register_forward_hook(noted(canonical_name(f"{name}.", loader).removesuffix(".")))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with torch.no_grad(), _eager(model):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return {name.replace(".base_layer", ""): dtype for name, dtype in seen.items()}


def dropping(model: Any) -> tuple[str, ...]:
    """Modules whose dropout is on, by canonical name."""
    import torch

    loader = of(model)
    return tuple(
        canonical_name(name, loader)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Dropout) and module.training and module.p > 0
    )


def held(model: Any) -> dict[str, str]:
    """How weights are held: packed Linears by component, numbers by dtype, layers recomputed."""
    packed: Counter[str] = Counter()
    inside = parts(model)
    tower = {id(module) for module in inside.tower.modules()}
    for module in model.modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None:
            packed["tower" if id(module) in tower else "decoder"] += 1
    dtypes: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for parameter in model.parameters():
        dtypes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
        if parameter.requires_grad:
            trained[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    recomputed = sum(
        bool(getattr(layer, "gradient_checkpointing", False)) for layer in inside.layers
    )

    def of_weight(module: Any) -> str:
        return str(module.weight.dtype).removeprefix("torch.")

    return {
        "packed_linears": _counts(packed) or "none",
        "numbers_by_dtype": _counts(dtypes),
        "trained_by_dtype": _counts(trained),
        "layers_flagged_for_recomputation": str(recomputed),
        "embedding": of_weight(inside.embedding),
        "head": of_weight(inside.head),
        "norm": of_weight(inside.decoder.norm),
    }


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counted.items()))
