"""The bare training step of a variant: the recipe's arithmetic without a trainer around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from harness.errors import NotRunnable
from harness.measuring import _compat
from harness.measuring.lane.tower import Tower, wrap_tower
from harness.measuring.models.qwen2_vl import add_lora
from harness.recipe.published import IGNORE_INDEX, REFERENCE, Recipe
from harness.recipe.ways import Variant


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
        return trained_tensors(self.model)


def trained_tensors(model: Any) -> dict[str, Any]:
    """What a model trains, float32 on the CPU, by canonical name."""
    return {
        _compat.canonical_name(n): p.detach().float().cpu().clone()
        for n, p in model.named_parameters()
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
    if variant.upcast == "none":
        model.requires_grad_(False)
    else:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if variant.upcast == "narrow":
        _narrow(model)
    if variant.unpacked != "no":
        dequantise_(model, keep_dtype=variant.unpacked == "alike")
    model = add_lora(model, recipe, dropout=dropout)
    model.train()
    _checkpoint(model, variant, recipe)
    tower = wrap_tower(model, variant.tower)
    if variant.compiled:
        for layer in _compat.backbone(model).layers:
            layer.compile(dynamic=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.training.learning_rate, fused=on_cuda, weight_decay=0.0
    )
    return Prepared(variant, model, optimizer, parameters, device, recipe, tower)


def _narrow(model: Any) -> None:
    """Take back the upcast of the two largest tensors, embeddings and head, without a rounding.

    Their values came from bfloat16, the head's product is bfloat16 under autocast anyway, and
    what the embedding gives is widened to float32 as before.
    """
    import torch

    if not next(model.get_output_embeddings().parameters()).is_cuda:
        return
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        module.to(torch.bfloat16)
    model.get_input_embeddings().register_forward_hook(lambda *held: held[-1].float())


def dequantise_(model: Any, *, keep_dtype: bool) -> int:
    """Replace every 4-bit Linear by a bfloat16 one of the same values; returns how many.

    bitsandbytes' own product unpacks to the compute dtype, multiplies, and gives back its input's
    dtype: with keep_dtype this is the same arithmetic with the unpacking done once. Nothing to do
    on unquantised weights.
    """
    import torch

    class Alike(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x).to(x.dtype)

    done = 0
    for owner in list(model.modules()):
        for name, module in list(owner.named_children()):
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is None:
                continue
            from bitsandbytes.functional import dequantize_4bit

            linear = (Alike if keep_dtype else torch.nn.Linear)(1, 1, bias=False)
            weight = dequantize_4bit(module.weight.data, state).to(state.dtype)
            linear.in_features, linear.out_features = int(weight.shape[1]), int(weight.shape[0])
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            linear.bias = module.bias
            setattr(owner, name, linear)
            done += 1
    # peft chooses its layer class by this flag, and would expect packed weights.
    for attribute in ("is_loaded_in_4bit", "is_quantized", "hf_quantizer", "quantization_method"):
        if done and hasattr(model, attribute):
            setattr(
                model,
                attribute,
                None if "quantiz" in attribute and "is_" not in attribute else False,
            )
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


def _liger_kernels(device: Any) -> Any:
    """liger-kernel's functions for transformers. Raises NotRunnable off a GPU or without it."""
    if device.type != "cuda":
        raise NotRunnable("liger-kernel's kernels run on a GPU only; use --device cuda.")
    try:
        from liger_kernel import transformers
    except ImportError as error:
        raise NotRunnable(f"liger-kernel cannot be used here: {error}.") from error
    return transformers


def _liger(model: Any) -> None:
    """liger-kernel's norms and activation on this instance.

    Not its rotary embedding, which it replaces for the whole process, the recipe's side of a
    pair included; and not its loss, which is a variant of its own.
    """
    _liger_kernels(model.device).apply_liger_kernel_to_qwen2_vl(
        rope=False,
        rms_norm=True,
        layer_norm=False,
        swiglu=True,
        cross_entropy=False,
        fused_linear_cross_entropy=False,
        model=model,
    )


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
    weight = core.lm_head.weight
    fused = _liger_kernels(weight.device).LigerFusedLinearCrossEntropyLoss()
    return fused(weight.to(torch.bfloat16), chosen.to(torch.bfloat16), wanted)


def parts_of(batch: dict[str, Any], rows: int) -> list[tuple[dict[str, Any], Any]]:
    """A micro-batch in parts of `rows` samples (0: whole), each with its share of the labels.

    Each part's mean loss times its share adds up to the whole's mean. Raises ValueError where
    samples and pictures do not pair off.
    """
    size, _ = batch["labels"].shape
    if not rows or rows >= size:
        return [(batch, 1.0)]
    patches = batch["image_grid_thw"].prod(-1).tolist()
    if len(patches) != size:
        raise ValueError(f"{len(patches)} pictures for {size} samples; one each can be split")
    counted = (batch["labels"][:, 1:] != IGNORE_INDEX).sum(-1)
    parts = []
    for first in range(0, size, rows):
        last = min(size, first + rows)
        part = {k: v[first:last] for k, v in batch.items() if k != "pixel_values"}
        begin, end = sum(patches[:first]), sum(patches[:last])
        part["pixel_values"] = batch["pixel_values"][begin:end]
        parts.append((part, counted[first:last].sum() / counted.sum()))
    return parts


def step(prepared: Prepared, micro: Sequence[dict[str, Any]], first: int = 0) -> tuple[Any, Any]:
    """One optimizer step over micro-batches on the device; (loss, gradient norm), still tensors.

    The loss is the mean of the micro-batches' means, as transformers 4.45.1 accumulates. first:
    number of the first micro-batch, which names its pictures in a cache.
    """
    import torch

    on_cuda = prepared.device.startswith("cuda")
    total = torch.zeros((), device=prepared.device)
    for number, batch in enumerate(micro, first):
        for place, (part, share) in enumerate(parts_of(batch, prepared.variant.rows)):
            if prepared.tower is not None:
                prepared.tower.key = (number, place)
            with torch.autocast("cuda", torch.bfloat16) if on_cuda else nullcontext():
                loss = loss_of(prepared, part) * share / len(micro)
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
