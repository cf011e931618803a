"""The bare training step of a variant: the recipe's arithmetic without a trainer around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from harness import _compat
from harness.errors import NotRunnable
from harness.lane.variants import Variant
from harness.models.qwen2_vl import add_lora
from harness.recipe import IGNORE_INDEX, REFERENCE, Recipe


@dataclass
class Tower:
    """The vision tower's output by picture set, once `cached` asks for it."""

    key: int = -1
    held: dict[int, Any] = field(default_factory=dict)


@dataclass
class Prepared:
    """A model ready to step. parameters: LoRA's. tower: None unless outputs are cached."""

    variant: Variant
    model: Any
    optimizer: Any
    parameters: list[Any]
    device: str
    recipe: Recipe
    tower: Tower | None = None

    def adapter(self) -> dict[str, Any]:
        """LoRA's tensors on the CPU, by canonical name."""
        return {
            _compat.canonical_name(n): p.detach().float().cpu().clone()
            for n, p in self.model.named_parameters()
            if p.requires_grad
        }


def prepare(
    variant: Variant,
    model: Any,
    device: str,
    *,
    recipe: Recipe = REFERENCE,
    dropout: bool = False,
) -> Prepared:
    """Prepare a loaded model for k-bit training, add LoRA and AdamW; the model is changed.

    dropout: off for proofs of equal loss. Raises NotRunnable for a library that lacks a part.
    """
    import torch
    from peft import prepare_model_for_kbit_training

    on_cuda = device.startswith("cuda")
    if variant.liger:
        _liger(model)
    if variant.upcast:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model.requires_grad_(False)
    if variant.dequantised:
        dequantise_(model)
    model = add_lora(model, recipe, dropout=dropout)
    model.train()
    _checkpoint(model, variant, recipe)
    tower = _tower(model, variant)
    if variant.compiled:
        for layer in _compat.backbone(model).layers:
            layer.compile(dynamic=False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.training.learning_rate, fused=on_cuda, weight_decay=0.0
    )
    return Prepared(variant, model, optimizer, parameters, device, recipe, tower)


def dequantise_(model: Any) -> int:
    """Replace every 4-bit Linear by a bfloat16 one of the same values; returns how many.

    bitsandbytes' own product unpacks to the compute dtype and multiplies, so this is the same
    arithmetic with the unpacking done once. Nothing to do on unquantised weights.
    """
    import torch

    done = 0
    for owner in list(model.modules()):
        for name, module in list(owner.named_children()):
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is None:
                continue
            from bitsandbytes.functional import dequantize_4bit

            linear = torch.nn.Linear(1, 1, bias=False)
            weight = dequantize_4bit(module.weight.data, state).to(state.dtype)
            linear.in_features, linear.out_features = int(weight.shape[1]), int(weight.shape[0])
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            linear.bias = module.bias
            setattr(owner, name, linear)
            done += 1
    # peft chooses its layer class by this flag, and would expect packed weights.
    for attribute in ("is_loaded_in_4bit", "is_quantized", "hf_quantizer", "quantization_method"):
        if done and hasattr(model, attribute):
            setattr(model, attribute, None if "quantiz" in attribute and "is_" not in attribute
                    else False)  # fmt: skip
    return done


def _checkpoint(model: Any, variant: Variant, recipe: Recipe) -> None:
    """The recipe's checkpointing on all layers, on a share of them, or on none."""
    if not variant.checkpointing:
        return
    model.gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={"use_reentrant": recipe.training.use_reentrant}
    )
    model.enable_input_require_grads()
    if variant.checkpointing == 1:
        return
    layers = list(_compat.backbone(model).layers)
    if not hasattr(layers[0], "gradient_checkpointing"):
        raise NotRunnable(
            "Checkpointing a share of the layers needs per-layer switches, which this "
            "transformers release does not have."
        )
    kept = round(len(layers) * variant.checkpointing)
    for layer in layers[kept:]:
        layer.gradient_checkpointing = False


def _tower(model: Any, variant: Variant) -> Tower | None:
    """Wrap the vision tower's forward: no gradients, or one computation per picture set."""
    if variant.tower == "recipe":
        return None
    import torch

    visual = _compat.vision_tower(model)
    inner = visual.forward
    memory = Tower()

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            if variant.tower == "no_grad":
                return inner(*args, **kwargs)
            if memory.key not in memory.held:
                memory.held[memory.key] = inner(*args, **kwargs)
            held = memory.held[memory.key]
            # Newer releases return an output object and write the split embeddings into it.
            return type(held)(**held) if hasattr(held, "keys") else held

    visual.forward = forward
    return memory


def _liger(model: Any) -> None:
    """liger-kernel's norms and activation on this instance.

    Not its rotary embedding, which it replaces for the whole process, the recipe's side of a
    pair included; and not its loss, which is a variant of its own.
    """
    try:
        from liger_kernel.transformers import apply_liger_kernel_to_qwen2_vl
    except ImportError as error:
        raise NotRunnable(f"liger-kernel cannot be used here: {error}.") from error
    apply_liger_kernel_to_qwen2_vl(
        rope=False, rms_norm=True, layer_norm=False, swiglu=True, cross_entropy=False,
        fused_linear_cross_entropy=False, model=model,
    )  # fmt: skip


def loss_of(prepared: Prepared, batch: dict[str, Any]) -> Any:
    """Mean cross-entropy of one micro-batch over its labels, float32 scalar."""
    if prepared.variant.head == "library":
        return prepared.model(**batch, use_cache=False).loss
    import torch

    core = prepared.model.get_base_model()
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    if _compat.backbone(prepared.model) is core.model:
        raise NotRunnable(
            "Logits at chosen positions need transformers 4.52 or newer, whose inner model "
            "takes pictures."
        )
    hidden = core.model(**inputs, use_cache=False).last_hidden_state
    targets = batch["labels"][:, 1:]
    counted = targets != IGNORE_INDEX
    chosen, wanted = hidden[:, :-1][counted], targets[counted]
    if prepared.variant.head == "selected":
        return torch.nn.functional.cross_entropy(core.lm_head(chosen).float(), wanted)
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError as error:
        raise NotRunnable(f"liger-kernel cannot be used here: {error}.") from error
    weight = core.lm_head.weight
    low = torch.bfloat16 if weight.is_cuda else weight.dtype
    return LigerFusedLinearCrossEntropyLoss()(weight.to(low), chosen.to(low), wanted)


def step(prepared: Prepared, micro: Sequence[dict[str, Any]], first: int = 0) -> tuple[Any, Any]:
    """One optimizer step over micro-batches on the device; (loss, gradient norm), still tensors.

    The loss is the mean of the micro-batches' means, as transformers 4.45.1 accumulates. first:
    number of the first micro-batch, which names its pictures in a cache.
    """
    import torch

    on_cuda = prepared.device.startswith("cuda")
    total = torch.zeros((), device=prepared.device)
    for number, batch in enumerate(micro, first):
        if prepared.tower is not None:
            prepared.tower.key = number
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            loss = loss_of(prepared, batch) / len(micro)
        loss.backward()
        total += loss.detach().float()
    norm = torch.nn.utils.clip_grad_norm_(
        prepared.parameters, prepared.recipe.training.max_grad_norm
    )
    prepared.optimizer.step()
    prepared.optimizer.zero_grad(set_to_none=True)
    return total, norm


def parts_of_step(prepared: Prepared, batch: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    """Forward, backward and update over one micro-batch, to be called in turn: memory's phases."""
    import torch

    on_cuda = prepared.device.startswith("cuda")
    held: list[Any] = []

    def forward() -> None:
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
            held.append(loss_of(prepared, batch))

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(prepared.parameters, prepared.recipe.training.max_grad_norm)
        prepared.optimizer.step()
        prepared.optimizer.zero_grad(set_to_none=True)

    return [("forward", forward), ("backward", lambda: held.pop().backward()), ("update", update)]
