"""TRL's SFTTrainer as the recipe calls it, on every stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import _compat
from harness.collate import make_collator
from harness.recipe import Message, Recipe


def sft_config(
    recipe: Recipe,
    output_dir: Path,
    *,
    device: str,
    max_steps: int,
    micro_batch: int | None = None,
    accumulation: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    **overrides: Any,
) -> Any:
    """SFTConfig with the recipe's arguments; None keeps the recipe's own value.

    max_steps: -1 for the recipe's epochs. On a CPU bf16 and tf32 are off (float32 throughout) and
    the trainer writes no pickled checkpoints: harness.checkpoint keeps the state.
    """
    from trl import SFTConfig

    t = recipe.training
    on_cuda = device.startswith("cuda")
    arguments: dict[str, Any] = {
        "output_dir": str(output_dir),
        "num_train_epochs": t.num_train_epochs,
        "max_steps": max_steps,
        "per_device_train_batch_size": micro_batch or t.per_device_train_batch_size,
        "gradient_accumulation_steps": accumulation or t.gradient_accumulation_steps,
        "gradient_checkpointing": t.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": t.use_reentrant},
        "optim": t.optim,
        "logging_steps": t.logging_steps,
        "save_strategy": "no",
        "learning_rate": t.learning_rate if learning_rate is None else learning_rate,
        "bf16": t.bf16 and on_cuda,
        "max_grad_norm": t.max_grad_norm,
        "lr_scheduler_type": "constant_with_warmup"
        if recipe.repairs.warmup
        else t.lr_scheduler_type,
        "push_to_hub": t.push_to_hub,
        "report_to": t.report_to,
        "dataset_text_field": "",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,
        "seed": t.seed if seed is None else seed,
        "disable_tqdm": True,
        "use_cpu": not on_cuda,
    }
    if "warmup_ratio" in _compat.config_fields():
        arguments["warmup_ratio"] = t.warmup_ratio
    else:
        arguments["warmup_steps"] = t.warmup_ratio
    if on_cuda:
        arguments["tf32"] = t.tf32
    return SFTConfig(**{**arguments, **overrides})


def lora_config(recipe: Recipe, *, dropout: bool = True) -> Any:
    """The recipe's LoraConfig; dropout=False for arithmetic comparisons."""
    from peft import LoraConfig

    lora = recipe.lora
    return LoraConfig(
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout if dropout else 0.0,
        r=lora.r,
        bias=lora.bias,
        target_modules=list(lora.target_modules),
        task_type=lora.task_type,
    )


def build_trainer(
    model: Any,
    processor: Any,
    conversations: Sequence[Sequence[Message]],
    recipe: Recipe,
    config: Any,
    *,
    dropout: bool = True,
    callbacks: Sequence[Any] = (),
    collator: Any = None,
) -> Any:
    """SFTTrainer over a list of conversations with the recipe's collator and LoRA.

    model: the base model, or one already wrapped by peft (then no LoRA is added).
    """
    from trl import SFTTrainer

    collate = collator or make_collator(processor, recipe)
    arguments: dict[str, Any] = {
        "model": model,
        "args": config,
        "callbacks": list(callbacks),
    }
    if not hasattr(model, "peft_config"):
        arguments["peft_config"] = lora_config(recipe, dropout=dropout)
    parameters = _compat.sft_parameters()
    if "tokenizer" in parameters:
        arguments["tokenizer"] = processor.tokenizer
    else:
        arguments["processing_class"] = processor.tokenizer
    if "dataset_text_field" in parameters:
        arguments["dataset_text_field"] = ""
    if _compat.takes_plain_list():
        arguments["train_dataset"] = list(conversations)
        arguments["data_collator"] = collate
    else:
        from datasets import Dataset

        arguments["train_dataset"] = Dataset.from_dict({"row": list(range(len(conversations)))})
        arguments["data_collator"] = lambda rows: collate([conversations[r["row"]] for r in rows])
    return SFTTrainer(**arguments)
