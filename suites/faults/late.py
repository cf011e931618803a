"""Faults of rungs 11 to 13: trajectory, generation, cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from harness.records.context import Context
from suites.faults import Fault, edited_result
from suites.faults.model import recipe_lora

# Enough for one logged line and for a batch whose prompts differ in length.
SHORT = {"max_steps": 5, "micro_batch": 1, "accumulation": 1}
PRODUCTS = 4


@contextmanager
def short_run() -> Iterator[None]:
    """The probes of rungs 11 and 12 on five steps and four products, whatever model it is: a
    hundred steps of four times eight rows, as of a snapshot on a GPU, take minutes a fault."""
    from harness.measuring.probes import generation
    from harness.measuring.training import spec as train_spec

    default = train_spec.default_scale

    def short(context: Context) -> train_spec.RunScale:
        return replace(default(context), **SHORT)

    with (
        mock.patch.object(train_spec, "default_scale", short),
        mock.patch.object(generation, "HELD_OUT", PRODUCTS),
        mock.patch.object(generation, "STAND_IN_TOKENS", 24),
    ):
        yield


def briefly(
    plant: Callable[[], AbstractContextManager[Any]],
) -> Callable[[], AbstractContextManager[Any]]:
    """The fault, planted into a short run."""

    @contextmanager
    def planted() -> Iterator[None]:
        with short_run(), plant():
            yield

    return planted


@contextmanager
def tensor_lost() -> Iterator[None]:
    """The saved adapter lacks its first tensor."""
    from peft import PeftModel
    from safetensors.torch import load_file, save_file

    save = PeftModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        path = Path(folder) / "adapter_model.safetensors"
        tensors = load_file(path)
        tensors.pop(sorted(tensors)[0])
        save_file(tensors, path)

    with mock.patch.object(PeftModel, "save_pretrained", saving):
        yield


@contextmanager
def adapter_rounded() -> Iterator[None]:
    """The adapter is saved in bfloat16 precision."""
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file, save_file

    save = PeftModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        path = Path(folder) / "adapter_model.safetensors"
        save_file({n: t.to(torch.bfloat16).float() for n, t in load_file(path).items()}, path)

    with mock.patch.object(PeftModel, "save_pretrained", saving):
        yield


def merged_too_large() -> AbstractContextManager[None]:
    """What is merged is one per cent more than what the adapter adds."""
    from peft.tuners.lora import Linear

    return edited_result(Linear, "get_delta_weight", lambda delta: delta * 1.01)


@contextmanager
def merging_moves_a_norm() -> Iterator[None]:
    """The last norm of the base is another one after merging."""
    from peft import LoraModel

    from harness.measuring.models import parts

    def edit(model: Any) -> Any:
        parts(model).decoder.norm.weight.data.mul_(1.0 + 2.0**-10)
        return model

    with edited_result(LoraModel, "merge_and_unload", edit):
        yield


@contextmanager
def merged_saved_otherwise(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """The files of a merged model hold other tensors than the model."""
    from safetensors.torch import load_file, save_file
    from transformers import PreTrainedModel

    save = PreTrainedModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        for path in Path(folder).glob("*.safetensors"):
            save_file(edit(load_file(path)), path, {"format": "pt"})

    with mock.patch.object(PreTrainedModel, "save_pretrained", saving):
        yield


def merged_rounded() -> AbstractContextManager[None]:
    """A merged model is saved in bfloat16 precision."""
    import torch

    return merged_saved_otherwise(
        lambda tensors: {name: t.to(torch.bfloat16).float() for name, t in tensors.items()}
    )


def merged_under_other_names() -> AbstractContextManager[None]:
    """A merged model is saved under the names that it had inside peft's."""
    return merged_saved_otherwise(
        lambda tensors: {f"base_model.model.{name}": t for name, t in tensors.items()}
    )


def rate_decays() -> AbstractContextManager[None]:
    """A linear schedule instead of the constant one."""
    from harness.measuring.training import trainer

    return edited_result(
        trainer, "recipe_arguments", lambda arguments: {**arguments, "lr_scheduler_type": "linear"}
    )


def trains_along(of: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """A tensor of the base trains along. of: which one of the decoder's."""
    from harness.measuring.models import parts
    from harness.measuring.training import run as train

    def edit(built: Any) -> Any:
        of(parts(built.trainer.model).decoder).requires_grad_(True)
        return built

    return edited_result(train, "build_trainer", edit)


def norm_trains() -> AbstractContextManager[None]:
    """The last norm: around 1 in bfloat16 a few steps of 2e-4 are rounded away."""
    return trains_along(lambda decoder: decoder.norm.weight)


def bias_trains() -> AbstractContextManager[None]:
    """A bias, small enough to move in bfloat16 too."""
    return trains_along(lambda decoder: decoder.layers[-1].self_attn.q_proj.bias)


def right_padding() -> AbstractContextManager[None]:
    """Prompts are padded on the right before generating."""
    from harness.measuring.probes import _generate as generate

    def edit(inputs: dict[str, Any]) -> dict[str, Any]:
        import torch

        moved = dict(inputs)
        for row, mask in enumerate(inputs["attention_mask"]):
            gap = int((mask == 0).sum())
            for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
                if name in moved:
                    moved[name] = moved[name].clone()
                    moved[name][row] = torch.roll(moved[name][row], -gap)
        return moved

    return edited_result(generate, "encode", edit)


def prompt_kept() -> AbstractContextManager[Any]:
    """The prompt is not cut off the generated tokens."""
    from harness.measuring.probes import _generate as generate

    return mock.patch.object(generate, "new_tokens", lambda whole, inputs: whole)


def top_k_one() -> AbstractContextManager[None]:
    """generation_config keeps a top_k of 1, as the published one does."""
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        model.generation_config.top_k = 1
        return model

    return edited_result(loading, "load_model", edit)


def no_checkpointing() -> AbstractContextManager[Any]:
    """Gradient checkpointing is asked for and silently not done."""
    from transformers import PreTrainedModel

    return mock.patch.object(PreTrainedModel, "gradient_checkpointing_enable", return_value=None)


@contextmanager
def keyless_rows_not_a_number() -> Iterator[None]:
    """Fused attention has no gradient for rows without keys where its last tile is half full."""
    import torch

    functional = torch.nn.functional
    attend = functional.scaled_dot_product_attention

    def attending(query: Any, *arguments: Any, **keywords: Any) -> Any:
        mask = keywords.get("attn_mask")
        if mask is None or query.shape[-2] % 128 != 64 or not query.requires_grad:
            return attend(query, *arguments, **keywords)
        keyless = (mask if mask.dtype is torch.bool else mask > -1e30).sum(-1) == 0
        query = query.clone()
        query.register_hook(lambda g: g.masked_fill(keyless[..., None], float("nan")))
        return attend(query, *arguments, **keywords)

    with mock.patch.object(functional, "scaled_dot_product_attention", attending):
        yield


FAULTS = (
    Fault(
        "trajectory",
        "an adapter tensor lost",
        "trajectory.adapter_tensors",
        briefly(tensor_lost),
        slow=True,
    ),
    Fault(
        "trajectory",
        "adapter saved in lower precision",
        "trajectory.reload_gap",
        briefly(adapter_rounded),
        slow=True,
    ),
    Fault(
        "trajectory",
        "the learning rate decays",
        "trajectory.learning_rate_gap",
        briefly(rate_decays),
        slow=True,
    ),
    Fault(
        "trajectory",
        "the base's norm trains along",
        "trajectory.trained_strays",
        briefly(norm_trains),
        slow=True,
    ),
    Fault(
        "trajectory",
        "a bias of the base trains along",
        "trajectory.base_changed",
        briefly(bias_trains),
        slow=True,
    ),
    Fault(
        "trajectory",
        "no gradient for padding at some lengths",
        "trajectory.padded_gradient_is_finite",
        briefly(keyless_rows_not_a_number),
        slow=True,
    ),
    *(
        Fault("trajectory", name, f"trajectory.{finds}", briefly(plant), slow=True)
        for name, finds, plant in (
            ("merging adds 1 % more than the adapter", "merged_gap", merged_too_large),
            ("merging moves a norm", "merged_strays", merging_moves_a_norm),
            ("a merged model saved in bfloat16", "merged_reload_gap", merged_rounded),
            ("a merged model saved under peft's names", "merged_names", merged_under_other_names),
        )
    ),
    Fault(
        "generation",
        "prompts padded on the right",
        "generation.batch_gap",
        briefly(right_padding),
        slow=True,
    ),
    Fault(
        "generation",
        "the prompt is not cut off",
        "generation.prompt_leak",
        briefly(prompt_kept),
        slow=True,
    ),
    Fault(
        "generation",
        "sampling takes the likeliest token",
        "generation.sampling_is_greedy",
        briefly(top_k_one),
        slow=True,
    ),
    Fault(
        "cost",
        "one module too many with an adapter",
        "cost.held_bytes",
        lambda: recipe_lora(target_modules=("q_proj", "k_proj", "v_proj")),
        slow=True,
    ),
    Fault("cost", "checkpointing silently off", "cost.flops", no_checkpointing, slow=True),
)
