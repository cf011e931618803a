"""One call that puts a named way on a model or a trainer."""

from __future__ import annotations

from typing import Any

from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.ways.applied import Applied, Ledger
from harness.measuring.ways.blocks import compile_blocks
from harness.measuring.ways.head import choose_positions
from harness.measuring.ways.kernels import use_liger
from harness.measuring.ways.layers import compile_layers, keep_activations
from harness.measuring.ways.tower import run_tower
from harness.measuring.ways.weights import narrow, unpack
from harness.recipe.ways import Variant, variant

MARK = "_harness_way"


def apply(target: Any, way: str | Variant, *, keep: bool = True) -> Applied:
    """Put a way on a model (peft's or a bare one) or a constructed Trainer or SFTTrainer.

    target: a trainer that is not training. keep: unpacked weights keep their 4-bit form in host
    memory, so that `undo` gives it back; without, there is no undoing. Raises BadInput for an
    unknown name, another target or a second way, NotRunnable where this way cannot be put on:
    each in one sentence, the target then as it was.
    """
    import torch

    kind = variant(way) if isinstance(way, str) else way
    trainer = None if isinstance(target, torch.nn.Module) else target
    model = target if trainer is None else getattr(trainer, "model", None)
    if not isinstance(model, torch.nn.Module):
        raise BadInput(
            f"A way is put on a model or a trainer, not on {type(target).__name__}; give one."
        )
    core = _compat.core(model)
    if MARK in vars(core):
        raise BadInput(f"The model is under the way {vars(core)[MARK]!r}; undo that first.")
    reason = lacking(kind, model, trainer)
    if reason:
        raise NotRunnable(f"{kind.name} cannot be put on: {reason}.")
    ledger = Ledger()
    try:
        change(model, kind, ledger, arguments=getattr(trainer, "args", None), keep=keep)
        ledger.attribute(core, MARK, kind.name)
    except BaseException:
        ledger.undo()
        raise
    return Applied(kind.name, tuple(ledger.changes), ledger)


def lacking(kind: Variant, model: Any, trainer: Any) -> str:
    """Why a way cannot be put on this model or trainer; "" where it can."""
    if kind.grouped:
        return "it deals other samples into a batch, which is another training"
    if kind.unmasked:
        return "its mask is left out by the collator; choose the way that keeps it"
    if kind.rows:
        return (
            f"splitting a micro-batch is the trainer's own setting; choose the way without it and "
            f"set per_device_train_batch_size={kind.rows}, with more gradient_accumulation_steps"
        )
    if kind.upcast == "none" or kind.unpacked == "plain":
        return "it rounds more than the recipe and its losses differ (golden/lane/README.md)"
    if kind.head != "library" and trainer is not None and _compat.reads_logits(trainer):
        return "this TRL release's SFTTrainer reads logits at every position"
    return ""


def change(
    model: Any, kind: Variant, ledger: Ledger, *, arguments: Any = None, keep: bool = True
) -> Any:
    """Everything of a way that is the model's; its tower's memory where it has one.

    What `apply` refuses is left to the caller: rows, grouped, and an upcast that is never made.
    """
    if kind.liger:
        use_liger(model, ledger)
    if kind.upcast == "narrow":
        narrow(model, ledger)
    if kind.unpacked != "no":
        unpack(model, ledger, keep_dtype=kind.unpacked == "alike", keep=keep)
    if kind.checkpointing < 1:
        keep_activations(model, kind.checkpointing, arguments, ledger)
    if kind.head != "library":
        choose_positions(model, kind.head, ledger)
    if kind.compiled:
        compile_layers(model, ledger)
    if kind.compiled_tower:
        # Before what chooses pictures: it finds the positions of those that are chosen.
        compile_blocks(model, ledger)
    return None if kind.tower == "recipe" else run_tower(model, kind.tower, ledger)
