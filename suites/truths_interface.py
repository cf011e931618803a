"""Truths of rungs 0 and 1: every import and call of the recipe runs as it is written.

The list is taken from the recipe's text, not from the probe: a call that the probe forgets is
missing, and a missing one fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.judging.goldens.golden import Golden

MODULES = (
    "torch",
    "torchvision",
    "tensorboard",
    "PIL",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "bitsandbytes",
    "trl",
    "peft",
    "qwen_vl_utils",
)
IMPORTS = (
    "import_auto_model",
    "import_processor",
    "import_qwen2vl_processor",
    "import_bitsandbytes_config",
    "import_vision_info",
    "import_load_dataset",
    "import_lora_config",
    "import_sft",
)
CALLS = (
    "load_dataset",
    "quantisation_config",
    "load_model_4bit",
    "load_processor",
    "chat_template_training",
    "chat_template_generation",
    "vision_info",
    "collate",
    "lora_config",
    "sft_config",
    "sft_trainer",
    "train",
    "save_model",
    "load_model_float16",
    "processor_generation",
    "generate",
    "batch_decode",
    "load_adapter",
)
ARGUMENTS = (
    "argument_torch_dtype",
    "sft_config_num_train_epochs",
    "sft_config_per_device_train_batch_size",
    "sft_config_gradient_accumulation_steps",
    "sft_config_gradient_checkpointing",
    "sft_config_gradient_checkpointing_kwargs",
    "sft_config_optim",
    "sft_config_logging_steps",
    "sft_config_save_strategy",
    "sft_config_learning_rate",
    "sft_config_bf16",
    "sft_config_tf32",
    "sft_config_max_grad_norm",
    "sft_config_warmup_ratio",
    "sft_config_lr_scheduler_type",
    "sft_config_push_to_hub",
    "sft_config_report_to",
    "sft_config_dataset_text_field",
    "sft_config_dataset_kwargs",
    "sft_trainer_train_dataset",
    "sft_trainer_tokenizer",
    "sft_trainer_dataset_text_field",
    "sft_trainer_peft_config",
)


def interface_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rungs 0 and 1."""
    origin = "the recipe's text"
    yield truth(
        "environment",
        "imports",
        dict.fromkeys(MODULES, "PASS"),
        origin,
        "the recipe imports or installs each of these",
    )
    yield truth(
        "environment",
        "bare_pins_import",
        {"": "PASS"},
        origin,
        "the published pins should be enough to import the trainer",
    )
    pins = truth(
        "environment",
        "pins_differing",
        {"": []},
        "harness/stacks/*.lock",
        "what is installed is what the stack declares",
    )
    # A trial stack (`current` with other versions) declares nothing that could differ.
    yield replace(pins, required=False)
    yield truth(
        "environment",
        "mismatched_pairs",
        {"": []},
        "the packages' own metadata",
        "no installed release asks for another version of an installed one",
    )
    calls = dict.fromkeys((*IMPORTS, *CALLS, *ARGUMENTS), "PASS")
    yield truth("interface", "call", calls, origin, "the recipe makes each of these calls")
    yield truth(
        "interface",
        "adapter_tensors_unread",
        {"": 0},
        "an identity",
        "what was saved of an adapter is what a model reads of it",
    )
    yield truth(
        "interface",
        "lora_fields_differing",
        {"": []},
        "the repr that the post prints",
        "the six arguments given, and the defaults that peft 0.13.0 printed",
    )
