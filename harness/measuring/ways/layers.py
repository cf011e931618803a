"""Decoder layers compiled, and fewer of them recomputed in the backward pass."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.errors import NotRunnable
from harness.measuring import _compat
from harness.measuring.models import parts
from harness.measuring.ways.applied import Change, Ledger
from harness.measuring.ways.compiling import compiled

FLAG = "gradient_checkpointing"
# A fused kernel may leave out roundings to bfloat16 between its operations; the published step
# makes them, so a compiled one is told to.
OPTIONS = {"emulate_precision_casts": True}


def compile_layers(model: Any, ledger: Ledger) -> None:
    """torch.compile of each decoder layer in place, for sequences of any length.

    All layers share one graph: what goes into the first one requires a gradient like what goes into
    the others, where a frozen embedding's would not, and that layer was compiled for itself, half
    of the time that a first step takes. No gradient that anybody looks at changes; the first
    layer's products with its input's gradient are what it costs.
    """
    settle_biases(model, ledger)
    hook = model.get_input_embeddings().register_forward_hook(_require_gradient)
    ledger.backwards.append(hook.remove)
    layers = list(parts(model).layers)
    for layer in layers:
        # What `layer.compile` sets (torch/nn/modules/module.py).
        ledger.attribute(layer, "_compiled_call_impl", compiled(layer._call_impl, OPTIONS))
    ledger.changes.append(
        Change("layers", "decoder layers", "eager", "torch.compile, dynamic shapes", len(layers))
    )


def _require_gradient(_: Any, __: Any, embedded: Any) -> None:
    """Of embeddings (batch, sequence, width) in a pass that records gradients."""
    import torch

    if torch.is_grad_enabled() and not embedded.requires_grad:
        embedded.requires_grad_()


def settle_biases(model: Any, ledger: Ledger) -> int:
    """Give every 4-bit Linear's bias its compute dtype now; returns how many changed.

    bitsandbytes' Linear4bit.forward assigns `bias.data` another dtype in its first call
    (nn/modules.py, marked there with a question). torch.compile cannot trace that assignment and
    breaks the graph in that call only: what checkpointing recomputes in the backward pass is
    another graph, its saved tensors are not the first one's, and the gradients are no numbers.
    Settled before, every call is the same; no value changes.
    """
    changed = 0
    for module in model.modules():
        wanted, bias = getattr(module, "compute_dtype", None), getattr(module, "bias", None)
        packed = getattr(getattr(module, "weight", None), "quant_state", None) is not None
        if packed and wanted is not None and bias is not None and bias.dtype != wanted:
            ledger.backwards.append(partial(setattr, bias, "data", bias.data))
            bias.data = bias.data.to(wanted)
            changed += 1
    return changed


def keep_activations(model: Any, share: float, arguments: Any, ledger: Ledger) -> None:
    """Recompute a share of the decoder layers, or none: then nothing needs inputs with gradients.

    arguments: a trainer's, None without one; a trainer would switch checkpointing on for all
    layers when it begins, so its switch is taken over here. Raises NotRunnable where a release
    has no switch per layer.
    """
    asked = [name for name in (FLAG, "activation_checkpointing") if getattr(arguments, name, False)]
    owners = [m for m in model.modules() if getattr(m, FLAG, False) is True]
    if not asked and not owners:
        return
    if share:
        _recompute_some(model, share, arguments if asked and not owners else None, ledger)
    else:
        for module in owners:
            ledger.attribute(module, FLAG, False)
        _let_inputs_be(model, ledger)
    for name in asked:
        ledger.attribute(arguments, name, False)
    after = f"{share:.0%} of the decoder layers" if share else "kept"
    ledger.changes.append(Change("checkpointing", "activations", "recomputed", after))


def _recompute_some(model: Any, share: float, arguments: Any, ledger: Ledger) -> None:
    layers = list(parts(model).layers)
    if not hasattr(layers[0], FLAG):
        raise NotRunnable(
            "Checkpointing a share of the layers needs per-layer switches, which this "
            "transformers release does not have."
        )
    if arguments is not None:
        for module in model.modules():
            if hasattr(module, FLAG):
                ledger.attribute(module, FLAG, getattr(module, FLAG))
        core = _compat.core(model)
        core.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs=arguments.gradient_checkpointing_kwargs
        )
    for layer in layers[round(len(layers) * share) :]:
        ledger.attribute(layer, FLAG, False)


def _let_inputs_be(model: Any, ledger: Ledger) -> None:
    """Take the hooks away that give a frozen model's inputs gradients: only recomputing needs them.

    On transformers 5 they also sit on the vision tower, and carry a backward pass through it.
    """
    core = _compat.core(model)
    for handle in _compat.input_gradient_hooks(core):
        hooks = handle.hooks_dict_ref()
        if hooks is not None and handle.id in hooks:
            before = dict(hooks)
            del hooks[handle.id]
            ledger.backwards.append(partial(_refill, hooks, before))


def _refill(hooks: Any, before: dict[int, Any]) -> None:
    """The hooks of before in their order, then whatever came since."""
    since = {k: v for k, v in hooks.items() if k not in before}
    hooks.clear()
    hooks.update({**before, **since})
