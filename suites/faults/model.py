"""Faults of rungs 6 to 10: model, inputs, forward, backward, update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result


def lora(edit: Any) -> AbstractContextManager[None]:
    """Edit every model that gets its LoRA."""
    from harness.measuring.training import adapter

    return edited_result(adapter, "add_lora", edit)


def recipe_lora(**changes: Any) -> AbstractContextManager[None]:
    """The recipe's LoRA with other hyper-parameters."""
    from harness.measuring.training import adapter

    def edit(args: Any, kwargs: Any) -> Any:
        model, recipe, *rest = args
        return (model, replace(recipe, lora=replace(recipe.lora, **changes)), *rest), kwargs

    return edited_arguments(adapter, "add_lora", edit)


@contextmanager
def one_linear_left() -> Iterator[None]:
    """down_proj is not quantised, by bitsandbytes or by the emulation."""
    from transformers import BitsAndBytesConfig

    from harness.measuring.snapshots import loading

    def skipping(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "llm_int8_skip_modules": ["lm_head", "down_proj"]}

    def emulating(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "skip": ("lm_head", "down_proj")}

    with (
        edited_arguments(loading, "emulate_", emulating),
        edited_arguments(BitsAndBytesConfig, "__init__", skipping),
    ):
        yield


def tower() -> Any:
    """The vision tower's class of the installed library."""
    from transformers.models.qwen2_vl import modeling_qwen2_vl

    return modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel


def pixels_scaled() -> AbstractContextManager[None]:
    """Pixels reach the tower one per cent too large."""

    def edit(args: Any, kwargs: Any) -> Any:
        if len(args) > 1:
            return (args[0], args[1] * 1.01, *args[2:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] * 1.01}

    return edited_arguments(tower(), "forward", edit)


def axes_swapped() -> AbstractContextManager[None]:
    """M-RoPE's height and width change places."""
    from transformers.models.qwen2_vl import modeling_qwen2_vl as module

    owner = module.Qwen2VLForConditionalGeneration
    if not hasattr(owner, "get_rope_index"):
        owner = module.Qwen2VLModel
    return edited_result(
        owner, "get_rope_index", lambda positions: (positions[0][[0, 2, 1]], *positions[1:])
    )


def images_scattered_backwards() -> AbstractContextManager[None]:
    """Image features land on the image tokens in reverse order."""
    import torch

    scatter = torch.Tensor.masked_scatter

    def backwards(self: Any, mask: Any, source: Any) -> Any:
        return scatter(self, mask, source.flip(0))

    return mock.patch.object(torch.Tensor, "masked_scatter", backwards)


def loss_scaled() -> AbstractContextManager[None]:
    """The loss is one per cent too large."""
    import torch

    return edited_result(torch.nn.functional, "cross_entropy", lambda loss: loss * 1.01)


def mask_ignored() -> AbstractContextManager[None]:
    """Causal attention forgets the padding mask."""
    import torch

    attention = torch.nn.functional.scaled_dot_product_attention

    def ignoring(query: Any, key: Any, value: Any, attn_mask: Any = None, **kwargs: Any) -> Any:
        if attn_mask is not None and query.ndim == 4 and query.shape[0] > 1:
            kwargs.update(is_causal=query.shape[-2] > 1)
            attn_mask = None
        return attention(query, key, value, attn_mask=attn_mask, **kwargs)

    return mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", ignoring)


def pictures_ignored() -> AbstractContextManager[None]:
    """The tower's output is zero."""

    def edit(result: Any) -> Any:
        import torch

        if isinstance(result, torch.Tensor):
            return result * 0
        result.pooler_output = result.pooler_output * 0
        return result

    return edited_result(tower(), "forward", edit)


def gradient_scaled() -> AbstractContextManager[None]:
    """Every gradient through a LoRA layer is one per cent too large."""
    import torch
    from peft.tuners.lora import layer

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 1.01

    return edited_result(layer.Linear, "forward", Scaled.apply)


def tensor_frozen(model: Any) -> Any:
    next(p for n, p in model.named_parameters() if "lora_A" in n).requires_grad_(False)
    return model


def base_trained(model: Any) -> Any:
    next(p for n, p in model.named_parameters() if "norm" in n).requires_grad_(True)
    return model


def masked_targets_count() -> AbstractContextManager[None]:
    """The loss counts masked positions as if their target were token 0."""
    import torch

    real = torch.nn.functional.cross_entropy

    def counting(logits: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        return real(logits, target.clamp(min=0), *args, **kwargs)

    return mock.patch.object(torch.nn.functional, "cross_entropy", counting)


def no_clipping() -> AbstractContextManager[None]:
    """Clipping computes the norm and leaves the gradients alone."""
    import torch

    def only_norm(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        norms = [p.grad.norm() for p in parameters if p.grad is not None]
        return torch.stack(norms).norm()

    return mock.patch.object(torch.nn.utils, "clip_grad_norm_", only_norm)


def optimizer(**changes: Any) -> AbstractContextManager[None]:
    """AdamW made with other arguments."""
    import torch

    def edit(args: Any, kwargs: Any) -> Any:
        new = {k: v(kwargs[k]) if callable(v) else v for k, v in changes.items()}
        for group in args[1] if len(args) > 1 and isinstance(args[1], list) else []:
            if isinstance(group, dict):
                group.update({k: v for k, v in new.items() if k in group})
        return args, {**kwargs, **new}

    return edited_arguments(torch.optim.AdamW, "__init__", edit)


@contextmanager
def micro_batches_averaged() -> Iterator[None]:
    """The trainer no longer counts the tokens of an accumulated step."""
    from transformers import Trainer

    def samples(self: Any, iterator: Any, count: int, *rest: Any) -> Any:
        batches = [next(iterator) for _ in range(count)]
        return batches, None

    with mock.patch.object(Trainer, "get_batch_samples", samples):
        yield


FAULTS = (
    Fault("model", "one kind of Linear left unquantised", "model.quantised", one_linear_left),
    Fault(
        "model",
        "v_proj not adapted",
        "model.lora_adapted",
        lambda: recipe_lora(target_modules=("q_proj",)),
    ),
    Fault("model", "rank 4", "model.lora_trainable", lambda: recipe_lora(r=4), slow=True),
    Fault("inputs", "pixels scaled", "inputs.patch_gap", pixels_scaled, slow=True),
    Fault("inputs", "M-RoPE axes swapped", "inputs.prefill_positions", axes_swapped),
    Fault(
        "inputs", "image features in reverse order", "inputs.image_rows", images_scattered_backwards
    ),
    Fault("forward", "loss scaled by 1 %", "forward.loss_gap", loss_scaled),
    Fault("forward", "padding mask ignored", "forward.side_gap_same_targets", mask_ignored),
    Fault("forward", "pictures ignored", "forward.image_influence", pictures_ignored, slow=True),
    Fault("backward", "gradient scaled by 1 %", "backward.finite_difference_gap", gradient_scaled),
    Fault(
        "backward",
        "one LoRA tensor frozen",
        "backward.lora_without_gradient",
        lambda: lora(tensor_frozen),
    ),
    Fault(
        "backward",
        "a frozen norm trained",
        "backward.frozen_with_gradient",
        lambda: lora(base_trained),
        slow=True,
    ),
    Fault(
        "backward",
        "masked targets count",
        "backward.masked_gradient",
        masked_targets_count,
        slow=True,
    ),
    Fault("update", "clipping skipped", "update.clip_gap", no_clipping),
    Fault(
        "update",
        "learning rate halved",
        "update.learning_rate",
        lambda: optimizer(lr=lambda rate: rate / 2),
        slow=True,
    ),
    Fault(
        "update",
        "weight decay on",
        "update.weight_decay",
        lambda: optimizer(weight_decay=0.01),
        slow=True,
    ),
    Fault(
        "update",
        "accumulation averaged by micro-batch",
        "update.accumulation_gap",
        micro_batches_averaged,
        only="latest",
    ),
)
