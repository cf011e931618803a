"""TRL's SFTTrainer, built with the recipe's call on every stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from harness.measuring import _compat
from harness.measuring.instruments.exchange import same_dropout, with_normaliser
from harness.measuring.models import of
from harness.measuring.training import adapter
from harness.measuring.training.collate import make_collator
from harness.recipe.published import Message, Recipe, training_messages


@dataclass(frozen=True)
class Built:
    """A trainer ready to train, and sentences saying what differs from the recipe's call."""

    trainer: Any
    notes: tuple[str, ...]


class Conversations(Sequence[list[Message]]):
    """The recipe's training conversation of every row, made when it is asked for."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> None:
        self._rows, self._recipe = rows, recipe

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> list[Message]: ...

    @overload
    def __getitem__(self, index: slice) -> Conversations: ...

    def __getitem__(self, index: int | slice) -> list[Message] | Conversations:
        if isinstance(index, slice):
            return Conversations(self._rows[index], self._recipe)
        return training_messages(self._rows[index], self._recipe)


class _Examples(Sequence[dict[str, Sequence[Message]]]):
    """Conversations as the collator's examples. A Sequence, so torch's sampler and loader do."""

    def __init__(self, conversations: Sequence[Sequence[Message]]) -> None:
        self._conversations = conversations

    def __len__(self) -> int:
        return len(self._conversations)

    @overload
    def __getitem__(self, index: int) -> dict[str, Sequence[Message]]: ...

    @overload
    def __getitem__(self, index: slice) -> _Examples: ...

    def __getitem__(self, index: int | slice) -> dict[str, Sequence[Message]] | _Examples:
        if isinstance(index, slice):
            return _Examples(self._conversations[index])
        return {"messages": self._conversations[index]}


def recipe_arguments(recipe: Recipe) -> dict[str, Any]:
    """The recipe's SFTConfig arguments, as written there."""
    training = recipe.training
    return {
        "num_train_epochs": training.num_train_epochs,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "gradient_checkpointing": training.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": training.use_reentrant},
        "optim": training.optim,
        "logging_steps": training.logging_steps,
        "save_strategy": training.save_strategy,
        "learning_rate": training.learning_rate,
        "bf16": training.bf16,
        "tf32": training.tf32,
        "max_grad_norm": training.max_grad_norm,
        "warmup_ratio": training.warmup_ratio,
        "lr_scheduler_type": "constant_with_warmup"
        if recipe.repairs.warmup
        else training.lr_scheduler_type,
        "push_to_hub": training.push_to_hub,
        "report_to": training.report_to,
        "dataset_text_field": "",
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }


def machine_arguments(device: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments with what the machine and the harness require, and what that changed.

    Pickled checkpoints are never written; the harness saves its own state (checkpoint.py).
    """
    arguments = {**arguments, "save_strategy": "no", "disable_tqdm": True}
    notes = ["save_strategy is `no`: the harness saves its own state, not pickles."]
    if not device.startswith("cuda"):
        arguments.pop("tf32")
        # Autocast to bfloat16 halves a matrix multiplication's precision and, on a CPU without
        # bfloat16 units, its speed; the arithmetic here is float32 instead.
        arguments |= {"use_cpu": True, "bf16": False}
        notes.append("On the CPU: tf32 left out, use_cpu set, bf16 off (float32 throughout).")
    return arguments, notes


def build_trainer(
    model: Any,
    processor: Any,
    conversations: Sequence[Sequence[Message]],
    recipe: Recipe,
    output_dir: Path,
    *,
    max_steps: int = -1,
    micro_batch: int | None = None,
    accumulation: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    dropout: bool = True,
    callbacks: Sequence[Any] = (),
    trainer_class: Callable[[Any], Any] | None = None,
    wrap: bool = True,
    log_folder: Path | None = None,
    **overrides: Any,
) -> Built:
    """SFTTrainer over a list of message dicts with the recipe's collator.

    model: a base model (peft is applied by the trainer, as in the recipe) or, with wrap=False,
    one that has its adapter. log_folder: where TensorBoard's files go. max_steps, micro_batch,
    accumulation, learning_rate: None or -1 keep the recipe's. trainer_class: given SFTTrainer,
    returns the subclass to build. overrides: further SFTConfig arguments. No library is patched.
    """
    import torch
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    device = str(next(model.parameters()).device)
    wanted, notes = machine_arguments(device, recipe_arguments(recipe))
    scaled = {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": learning_rate,
    }
    wanted |= {name: value for name, value in scaled.items() if value is not None}
    wanted |= {"max_steps": max_steps, "seed": seed, **overrides}
    if log_folder is not None:
        wanted |= _compat.log_folder(SFTConfig, log_folder)
    arguments, changed = _compat.sft_arguments(SFTConfig, wanted)
    notes += changed
    config = SFTConfig(output_dir=str(output_dir), **arguments)
    config.remove_unused_columns = False
    _compat.one_card(config)

    rows = _Examples(conversations)
    collate: Any = make_collator(processor, recipe, of(model))
    dataset: Any = rows
    if _compat.refuses_list_datasets():
        notes.append("SFTTrainer refuses a list: it gets row numbers, the collator looks them up.")
        dataset, by_row = _compat.indexed_dataset(len(rows)), collate

        def collate(examples: Sequence[dict[str, int]]) -> dict[str, Any]:
            return by_row([rows[example["row"]] for example in examples])

    chosen = with_normaliser(trainer_class(SFTTrainer) if trainer_class else SFTTrainer)
    keywords, changed = _compat.sft_keywords(
        SFTTrainer,
        {
            "train_dataset": dataset,
            "data_collator": collate,
            "dataset_text_field": "",
            "tokenizer": processor.tokenizer,
            "callbacks": list(callbacks),
        },
    )
    notes += changed
    if wrap:
        keywords["peft_config"] = adapter.lora_config(recipe, model, dropout=dropout)
    # peft draws A before the trainer seeds itself; without this two runs differ.
    torch.manual_seed(seed)
    trainer = chosen(model=model, args=config, **keywords)
    trainer.remove_callback(PrinterCallback)
    same_dropout(trainer.model)
    return Built(trainer, tuple(notes))
