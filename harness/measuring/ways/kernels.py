"""liger-kernel's functions on one model, and back."""

from __future__ import annotations

from typing import Any

from harness.errors import NotRunnable
from harness.measuring import _compat
from harness.measuring.models import of_type
from harness.measuring.ways.applied import Change, Ledger


def liger_kernels(device: Any) -> Any:
    """liger-kernel's functions for transformers. Raises NotRunnable off a GPU or without it."""
    if device.type != "cuda":
        raise NotRunnable("liger-kernel's kernels run on a GPU only; use --device cuda.")
    try:
        from liger_kernel import transformers
    except ImportError as error:
        raise NotRunnable(f"liger-kernel cannot be used here: {error}.") from error
    return transformers


def use_liger(model: Any, ledger: Ledger) -> None:
    """liger-kernel's norms and activation on this instance.

    Not its rotary embedding, which it replaces for the whole process, the recipe's side of a
    pair included; and not its loss, which is a variant of its own.
    """
    core = _compat.core(model)
    kernels = liger_kernels(next(core.parameters()).device)
    owners = [*core.modules()]
    library = vars(_compat.modelling(core))
    before = [dict(vars(module)) for module in owners], dict(library)
    name = of_type(_compat.model_type(core.config))
    getattr(kernels, f"apply_liger_kernel_to_{name}")(
        rope=False,
        rms_norm=True,
        layer_norm=False,
        swiglu=True,
        cross_entropy=False,
        fused_linear_cross_entropy=False,
        model=core,
    )
    touched = 0
    for module, had in zip(owners, before[0], strict=True):
        own = vars(module)
        if any(own.get(k) is not had.get(k) for k in own.keys() | had.keys()):
            touched += 1
            _restore_later(own, had, ledger)
    _restore_later(library, before[1], ledger)
    ledger.changes.append(
        Change("kernels", "norms and gated activations", "PyTorch's", "liger-kernel's", touched)
    )


def _restore_later(own: dict[str, Any], had: dict[str, Any], ledger: Ledger) -> None:
    changed = {k for k in own.keys() | had.keys() if own.get(k) is not had.get(k)}

    def back() -> None:
        for name in changed:
            if name in had:
                own[name] = had[name]
            else:
                own.pop(name, None)

    ledger.backwards.append(back)
