"""Single arguments of the recipe's calls, each alone, so that one refusal hides no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import HarnessError
from harness.measuring import _compat
from harness.measuring.probes._adapted import adapt_sft_config
from harness.measuring.probes._written import Bench, collate_as_written, lora_config
from harness.measuring.snapshots import loading
from harness.measuring.training import trainer


def torch_dtype(bench: Bench) -> Any:
    """The `torch_dtype` keyword alone, on whichever auto class is installed."""
    import torch

    load = _compat.vision_to_text_class().from_pretrained
    model = load(str(bench.snapshot), torch_dtype=torch.bfloat16)
    if model.dtype != torch.bfloat16:
        raise HarnessError(f"torch_dtype=bfloat16 gave a model in {model.dtype}.")
    return model


def sft_config_argument(name: str) -> Callable[[Bench], Any]:
    """One SFTConfig argument of the recipe alone, so that one refusal hides no other."""

    def run(bench: Bench) -> Any:
        from trl import SFTConfig

        value = trainer.recipe_arguments(bench.recipe)[name]
        # TRL 0.20 and later default to bf16, which a machine without CUDA refuses unless told.
        base = {} if bench.device.startswith("cuda") else {"use_cpu": True}
        return SFTConfig(output_dir=str(bench.work / "trained"), **base, **{name: value})

    return run


def sft_trainer_argument(name: str) -> Callable[[Bench], Any]:
    """One SFTTrainer argument as the recipe has it, the others as the adapter gives them."""

    def run(bench: Bench) -> Any:
        from trl import SFTTrainer

        processor = bench.results["load_processor"]
        config, _ = adapt_sft_config(bench)
        list_of_dicts = [{"messages": messages} for messages in bench.conversations]
        rows = _compat.indexed_dataset(1) if _compat.refuses_list_datasets() else list_of_dicts
        keywords, _ = _compat.sft_keywords(SFTTrainer, {"tokenizer": processor.tokenizer})
        keywords |= {"train_dataset": rows, "args": config}
        keywords |= {"data_collator": collate_as_written(processor)}
        if name == "tokenizer":
            keywords.pop("processing_class", None)
        written = {
            "train_dataset": list_of_dicts,
            "tokenizer": processor.tokenizer,
            "dataset_text_field": "",
            "peft_config": lora_config(bench),
        }
        model = loading.load_model(bench.snapshot, device=bench.device)
        return SFTTrainer(model=model, **{**keywords, name: written[name]})

    return run
