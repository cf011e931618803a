"""The list of the recipe's imports and calls, in its order, with what each may need.

A call gets the results of those before it: its own where it passed, the adapter's where not, so
one broken call does not hide the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.measuring.probes._adapted import (
    adapt_generate,
    adapt_load_4bit,
    adapt_load_float16,
    adapt_sft_config,
    adapt_sft_trainer,
    auto_class,
)
from harness.measuring.probes._arguments import (
    sft_config_argument,
    sft_trainer_argument,
    torch_dtype,
)
from harness.measuring.probes._written import (
    Bench,
    batch_decode,
    chat_template_generation,
    chat_template_training,
    collate,
    generate,
    imports,
    load_adapter,
    load_dataset,
    load_model_4bit,
    load_model_float16,
    load_processor,
    lora_config,
    processor_generation,
    quantisation_config,
    save_model,
    sft_config,
    sft_trainer,
    train,
    vision_info,
)
from harness.recipe.published import PROCESSOR_CLASS


@dataclass(frozen=True)
class Call:
    """One call. needs_cuda: a pattern of the error by which a machine without CUDA refuses it.

    adapter: what `_compat` and the harness do instead: (result, sentence).
    """

    name: str
    run: Callable[[Bench], Any]
    needs_cuda: str = ""
    adapter: Callable[[Bench], tuple[Any, str]] | None = None


PROCESSOR_IMPORT = f"import_{PROCESSOR_CLASS.removesuffix('Processor').lower()}_processor"
# Without CUDA tf32=True and bf16=True are both refused; which one first differs by release.
NEEDS_TF32 = "(?i)tf32.*requires|ampere|doesn't support bf16/gpu"
CONFIG_ARGUMENTS = (
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "optim",
    "logging_steps",
    "save_strategy",
    "learning_rate",
    "bf16",
    "tf32",
    "max_grad_norm",
    "warmup_ratio",
    "lr_scheduler_type",
    "push_to_hub",
    "report_to",
    "dataset_text_field",
    "dataset_kwargs",
)
TRAINER_ARGUMENTS = ("train_dataset", "tokenizer", "dataset_text_field", "peft_config")

CALLS = (
    Call(
        "import_auto_model",
        imports("from transformers import AutoModelForVision2Seq"),
        adapter=auto_class,
    ),
    Call("import_processor", imports("from transformers import AutoProcessor")),
    Call(PROCESSOR_IMPORT, imports(f"from transformers import {PROCESSOR_CLASS}")),
    Call("import_bitsandbytes_config", imports("from transformers import BitsAndBytesConfig")),
    Call("import_vision_info", imports("from qwen_vl_utils import process_vision_info")),
    Call("import_load_dataset", imports("from datasets import load_dataset")),
    Call("import_lora_config", imports("from peft import LoraConfig")),
    Call("import_sft", imports("from trl import SFTConfig, SFTTrainer")),
    Call("load_dataset", load_dataset),
    Call("quantisation_config", quantisation_config),
    Call("load_model_4bit", load_model_4bit, "(?i)no gpu found|cuda", adapt_load_4bit),
    Call("load_processor", load_processor),
    Call("chat_template_training", chat_template_training),
    Call("chat_template_generation", chat_template_generation),
    Call("vision_info", vision_info),
    Call("collate", collate),
    Call("lora_config", lora_config),
    Call("sft_config", sft_config, NEEDS_TF32, adapt_sft_config),
    Call("sft_trainer", sft_trainer, adapter=adapt_sft_trainer),
    Call("train", train),
    Call("save_model", save_model),
    Call("load_model_float16", load_model_float16, adapter=adapt_load_float16),
    Call("processor_generation", processor_generation),
    Call("generate", generate, "not implemented for 'Half'", adapt_generate),
    Call("batch_decode", batch_decode),
    Call("load_adapter", load_adapter),
    Call("argument_torch_dtype", torch_dtype),
    *(
        Call(f"sft_config_{name}", sft_config_argument(name), NEEDS_TF32)
        for name in CONFIG_ARGUMENTS
    ),
    *(Call(f"sft_trainer_{name}", sft_trainer_argument(name)) for name in TRAINER_ARGUMENTS),
)
